"""The address lists of From, To, Cc, Reply-To and Sender, as they are really written.

Owns *address list*. Never validates an address, never drops one that can be made out. Follows RFC 5322 §3.4
and §4.4 (groups, comments, routes, blanks around dots), and the ways of mail programs that do not: names with
bare commas, brackets that are missing, semicolons for commas, whole mailboxes inside quotes or encoded words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from relay.message.model import Mailbox
from relay.message.words import decode_words, one_line

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_ANGLE = re.compile(r'<((?:"(?:[^"\\]|\\.)*+"|[^<>"])*+)>', re.DOTALL)
_TEXT = re.compile(r'[^"(<>,;:\s\\]++')
_STOP = re.compile(r"[<>,;]")
_INSIDE = re.compile(r'[<>"]')
# Angle brackets around any characters, quotes among them.
_PLAIN_ANGLE = re.compile(r"<([^<>]*+)>")
_BLANK = re.compile(r"\s++")
_PAIR = re.compile(r"\\(.)", re.DOTALL)
_ROUTE = re.compile(r"^@[^:]*:")
_JOINT = re.compile(r"([@.])")
_INNER_COMMENT = re.compile(r"\([^()]*+\)")
#: An encoded word: its commas and semicolons are letters of a name. One with an address is read as text.
_ENCODED = re.compile(r"=\?[^\s?=]{1,64}\?[bBqQ]\?[^?<>@]*+\?=")
_SCHEME = re.compile(r"(?:mailto|smtp):", re.IGNORECASE)
#: Marks that people put around an address in place of angle brackets.
_PAIRS = frozenset(
    {("'", "'"), ("[", "]"), ("{", "}"), ('"', '"'), ("«", "»"), ("\u2018", "\u2019"), ("\u201c", "\u201d")}
)
#: Spellings of a bracket in fields that have none: HTML's, and the wide forms of Chinese and Japanese.
_WRITTEN = (("&lt;", "<"), ("&gt;", ">"), ("\uff1c", "<"), ("\uff1e", ">"))
_WHOLE_ADDRESS = re.compile(r"[^@\s\"]++@[^@\s\"]++")
# Searched at the beginning of a word only: from within a word it would be read again for each letter.
_LONE_ADDRESS = re.compile(r"(?<![^\s<>\"(),;:@])[^\s<>\"(),;:@]++@[^\s<>\"(),;:@]++")


#: A mailbox as nearly all are written, up to its comma: `"Doe, John" <j@d.example>`, `John <j@d.example>` or
#: `j@d.example`, with nothing in it that can be read in two ways.
_PLAIN_ADDRESS = r"[A-Za-z0-9._+-]{1,64}+@[A-Za-z0-9-]{1,63}+(?:\.[A-Za-z0-9-]{1,63}+){0,8}+"
_PLAIN_WORD = r"[^\"(<>,;:@\s\\]{1,80}+"
_PLAIN = re.compile(
    rf'\s*+(?:(?:"([^"\\]{{0,200}}+)"|({_PLAIN_WORD}(?: {_PLAIN_WORD}){{0,20}}+))?+\s*+<({_PLAIN_ADDRESS})>'
    rf"|({_PLAIN_ADDRESS}))\s*+(?:,|\Z)"
)

#: Characters of a field that are read: ten thousand mailboxes of the usual length, where Connect takes fifty.
MOST_TEXT = 256 << 10
#: Mailboxes of a field that are read: the shortest has three characters, and costs as much as a hundred.
MOST_MAILBOXES = 10_000
#: Commas in one unquoted name ("Doe, John, Dr."); with more it is a list of names without addresses.
_MOST_COMMAS = 3


@dataclass(slots=True)
class _Draft:
    """The mailbox being read: pieces of text (as sent, and whether quoted), comments, and what was in
    brackets.
    """

    pieces: list[tuple[str, bool]] = field(default_factory=list)
    #: True once an @ was read outside quotes.
    at_sign: bool = False
    comments: list[str] = field(default_factory=list)
    angle: str | None = None

    def add(self, text: str, *, quoted: bool = False) -> None:
        self.pieces.append((text, quoted))
        self.at_sign |= "@" in text and not quoted

    def raw(self) -> str:
        return "".join(f'"{text}"' if quoted else text for text, quoted in self.pieces).strip()

    def words(self) -> str:
        return "".join(_PAIR.sub(r"\1", text) if quoted else text for text, quoted in self.pieces).strip()


def parse_addresses(text: str) -> tuple[Mailbox, ...]:
    """The mailboxes of an unfolded field body, in order, without group names; encoded words are decoded last.

    Linear in the length of the text, of which `MOST_TEXT` characters and about `MOST_MAILBOXES` mailboxes are
    read.
    """
    text = text[:MOST_TEXT]
    if "<" not in text:
        # Web forms escape brackets for HTML, and input methods of Japanese and Chinese write wide ones.
        for written, bracket in _WRITTEN:
            text = text.replace(written, bracket)
    return _read_plain(text) or tuple(_Reader(text).read())


def _read_plain(text: str) -> tuple[Mailbox, ...]:
    """The mailboxes of a field in the form of nearly all; none where any of them has another."""
    found: list[Mailbox] = []
    at = 0
    while at < len(text) and len(found) < MOST_MAILBOXES:
        box = _PLAIN.match(text, at)
        if box is None:
            return ()
        quoted, name, angle, bare = box.groups()
        found += _mailbox(angle or bare, (quoted or name or "").strip())
        at = box.end()
    return tuple(found)


class _Reader:
    def __init__(self, text: str, *, nested: bool = False) -> None:
        self.text = text
        self.nested = nested
        self.mailboxes: list[Mailbox] = []
        self.draft = _Draft()
        #: "Doe" of "Doe, John <j@d.example>": text before a comma that may belong to the next name.
        self.before_comma: list[_Draft] = []
        self.last_semicolon = text.rfind(";")
        self.last_quote = text.rfind('"')
        self.angle = _ANGLE
        self.last_parenthesis = text.rfind(")")

    def read(self) -> list[Mailbox]:
        text, at = self.text, 0
        while at < len(text) and len(self.mailboxes) < MOST_MAILBOXES:
            at = self._step(text, at)
        self._end()
        self._settle()
        return self.mailboxes

    def _step(self, text: str, at: int) -> int:
        # The encoded word first: the text up to the next mark may be long, and is read once.
        whole = _ENCODED.match(text, at) if text.startswith("=?", at) else None
        plain = whole or _TEXT.match(text, at)
        if plain is not None:
            self.draft.add(plain[0])
            return plain.end()
        char = text[at]
        if char == '"':
            return self._quote(text, at)
        if char == "(" and at < self.last_parenthesis:
            return self._comment(text, at)
        if char == "<":
            return self._angle(text, at)
        if char in ",;":
            self._end(at_comma=char == ",")
            return at + 1
        blank = _BLANK.match(text, at)
        if blank is not None:
            if self.draft.pieces:
                self.draft.add(" ")
            return blank.end()
        return self._letter(text, at)

    def _letter(self, text: str, at: int) -> int:
        char = text[at]
        if char == "\\" and at + 1 < len(text):
            self.draft.add(text[at + 1])
            return at + 2
        if char == ":" and at < self.last_semicolon and self.draft.angle is None and not self.draft.at_sign:
            self.draft = _Draft()  # a group's name, RFC 5322 §3.4
            self._settle()
        elif char not in ">\\":
            self.draft.add(char)
        return at + 1

    def _quote(self, text: str, at: int) -> int:
        quoted = _QUOTED.match(text, at) if at < self.last_quote else None
        if quoted is None:  # never closed: quotes are letters from here on
            self.last_quote = -1
            self.draft.add('"')
            return at + 1
        self.draft.add(quoted[1], quoted=True)
        return quoted.end()

    def _comment(self, text: str, at: int) -> int:
        depth, start = 0, at
        while at < len(text):
            char = text[at]
            if char == "\\":
                at += 1
            elif char == "(":
                depth += 1
            elif char == ")":
                depth -= 1
                if depth == 0:
                    self.draft.comments.append(text[start + 1 : at])
                    return at + 1
            at += 1
        self.last_parenthesis = -1  # never closed: parentheses are letters from here on
        self.draft.add("(")
        return start + 1

    def _angle(self, text: str, at: int) -> int:
        if self.draft.angle is not None and "@" in self.draft.angle:
            self._end()
        found = self.angle.match(text, at)
        if found is None and self.angle is _ANGLE:
            inner = _INSIDE.search(text, at + 1)
            if inner is not None and inner[0] == '"':
                # A quote within brackets was followed, perhaps to the end and in vain: from here on they are
                # letters.
                self.angle = _PLAIN_ANGLE
                found = _PLAIN_ANGLE.match(text, at)
        if found is not None:
            inside, end = found[1], found.end()
        else:  # never closed, or "<<a@b.example>>", or a quote inside that is never closed
            stop = _STOP.search(text, at + 1)
            end = len(text) if stop is None else stop.start()
            inside = text[at + 1 : end]
            end += text[end : end + 1] == ">"
        if inside.strip() or self.draft.angle is None:
            self.draft.angle = inside.strip()
        return end

    def _end(self, *, at_comma: bool = False) -> None:
        draft, self.draft = self.draft, _Draft()
        if not draft.pieces and draft.angle is None and not any("@" in each for each in draft.comments):
            return
        if draft.angle is None and not _holds_address(draft):
            self.before_comma.append(draft)
            if not at_comma or len(self.before_comma) > _MOST_COMMAS:
                self._settle()
            return
        if draft.angle is not None and self.before_comma:
            # RFC 5322 wants quotes around "Doe, John"; many programs leave them out.
            named = [each.words() for each in self.before_comma] + ([draft.words()] if draft.words() else [])
            draft.pieces = [(", ".join(named), False)]
            self.before_comma.clear()
        boxes = self._mailboxes(draft)
        if draft.angle is None and self.before_comma and len(boxes) == 1 and boxes[0].name and draft.at_sign:
            # "Doe, John john@d.example": the brackets are left out, too.
            named = [decode_words(each.words())[0] for each in self.before_comma]
            boxes = _mailbox(boxes[0].address, ", ".join((*named, boxes[0].name)))
            self.before_comma.clear()
        self._settle()
        self.mailboxes.extend(boxes)

    def _settle(self) -> None:
        """Take the text before a comma, which turned out to belong to no name, as an address without a
        domain.
        """
        for draft in self.before_comma:
            self.mailboxes.extend(self._mailboxes(draft))
        self.before_comma.clear()

    def _mailboxes(self, draft: _Draft) -> list[Mailbox]:
        comment = " ".join(each.strip() for each in draft.comments)
        if draft.angle is not None:
            address = _clean_address(draft.angle)
            name = draft.words() or comment
            if "@" not in address and (found := _LONE_ADDRESS.search(draft.words())) is not None:
                address, name = found[0], comment or address
            return _mailbox(address, name)
        if draft.at_sign:
            several = draft.raw().split()
            if len(several) > 1 and all(_WHOLE_ADDRESS.fullmatch(each) for each in several):
                # Nothing but blanks parts them.
                return [box for each in several for box in _mailbox(_clean_address(each), "")]
            return _mailbox(*(_split_quoted(draft, comment) or _split_bare(draft.raw(), comment)))
        if (found := _LONE_ADDRESS.search(comment)) is not None:
            return _mailbox(_clean_address(found[0]), draft.words())  # "Ann Lee (ann@example.com)"
        words = decode_words(draft.words())[0]
        if not self.nested and "@" in words:
            # The whole mailbox was put in quotes, or in an encoded word.
            return _Reader(words, nested=True).read() or _mailbox(words, comment)
        return _mailbox(words, comment)


def _holds_address(draft: _Draft) -> bool:
    if draft.at_sign or any("@" in comment for comment in draft.comments):
        return True
    return "@" in decode_words(draft.words())[0]


def _split_quoted(draft: _Draft, comment: str) -> tuple[str, str] | None:
    """The address and name of `"Ann Lee" ann@example.com`. Returns None where no quoted word stands apart."""
    words: list[list[tuple[str, bool]]] = [[]]
    for piece in draft.pieces:
        if piece == (" ", False):
            words.append([])
        else:
            words[-1].append(piece)
    for place, word in enumerate(words):
        text = "".join(f'"{text}"' if quoted else text for text, quoted in word)
        if not any("@" in text and not quoted for text, quoted in word):
            continue
        if (
            text.startswith("@")
            or text.endswith("@")
            or not any(quoted for each in words for _, quoted in each)
        ):
            return None  # '"ann lee" @ example.com': blanks around the @
        others = ("".join(text for text, _ in each) for each in (*words[:place], *words[place + 1 :]))
        name = " ".join(filter(None, others)).strip()
        return _clean_address(text), _PAIR.sub(r"\1", name) or comment
    return None


def _split_bare(raw: str, comment: str) -> tuple[str, str]:
    """The address and name of a mailbox without brackets: "a@b.example (Ann)", "Ann a@b.example", "ann @ b .
    example".
    """
    if " " not in raw:
        return _clean_address(raw), comment
    joined = _join_around(raw) if raw.count("@") == 1 else raw
    if " " not in joined or joined.startswith('"'):
        return _clean_address(joined), comment
    words = joined.split(" ")
    place = next(index for index, word in enumerate(words) if "@" in word)
    name = " ".join(words[:place] + words[place + 1 :]).strip()
    return _clean_address(words[place]), name.strip('"') or comment


def _join_around(raw: str) -> str:
    """The text without the blanks around its @ and dots (RFC 5322 §4.4)."""
    first, *others = _JOINT.split(raw)
    if not others:
        return raw
    *middle, last = others
    return "".join((first.rstrip(), *(piece.strip() for piece in middle), last.lstrip()))


def _clean_address(text: str) -> str:
    if "=?" in text:
        text = decode_words(text)[0]
        if "<" in text and (found := _LONE_ADDRESS.search(text)) is not None:
            text = found[0]
    if "(" in text and '"' not in text:
        text = _INNER_COMMENT.sub("", text)
    text = _ROUTE.sub("", text.strip())
    for _ in range(2):  # "[mailto:ann@example.com]", "<'ann@example.com'>"
        text = _SCHEME.sub("", text, count=1) if _SCHEME.match(text) else text
        if (
            (text[:1], text[-1:]) in _PAIRS
            and len(text) > 2
            and text.count('"') in {0, 2}
            and "@" in text[1:-1]
        ):
            text = text[1:-1].strip()
    if text.count('"') == 1:
        text = text.strip('"')
    if '"' not in text:
        text = _BLANK.sub("", text) if "@" in text else text
    # RFC 5321 §2.3.5: a domain is written without the final dot of DNS.
    return one_line(text.rstrip(".") if "@" in text else text)


def _mailbox(address: str, name: str) -> list[Mailbox]:
    name = one_line(decode_words(name)[0])
    if not name.strip(".,;: "):
        name = ""  # the end of a sentence behind the address
    if len(name) > 2 and name[0] == name[-1] and name[0] in "'\"":
        name = name[1:-1].strip()
    address = one_line(address)
    return [Mailbox(address=address, name=name)] if address or name else []

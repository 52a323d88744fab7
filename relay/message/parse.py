"""The parser: octets in, one frozen `Message` out, whatever was sent.

Owns the understanding of a whole mail. Never raises for what a mail holds, never does I/O, never grows
without bound (docs/parsing.md, "Bounds"). Follows RFC 5322, RFC 2045-2049 and what real mail makes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from relay.message.addresses import MOST_MAILBOXES, MOST_TEXT, parse_addresses
from relay.message.bodies import Bodies, body_text, choose_bodies, find_unchosen, join_texts
from relay.message.dates import parse_date
from relay.message.headers import Header, parse_header
from relay.message.identifiers import parse_identifiers, parse_message_id
from relay.message.markup import join_html
from relay.message.model import Defect, Mailbox, Message, ParseLimits, Part
from relay.message.octets import Buffer, Region, whole
from relay.message.tree import Node, TreeBuilder, charset_hint
from relay.message.unpack import unpack
from relay.message.words import decode_words, one_line, raw_text
from relay.message.work import Work

_DEFAULT_LIMITS = ParseLimits()


def parse_message(
    raw: Buffer, limits: ParseLimits = _DEFAULT_LIMITS, *, clock: Callable[[], float] | None = None
) -> Message:
    """The message of a mail, understood as far as it can be; never an error.

    Nothing large is copied: parts are read from `raw` when their chunks are asked for, so keep it open until
    then (a closed map raises ValueError). `clock`, monotonic seconds, bounds the time; without it `raw` alone
    bounds it.
    """
    return parse_with_tree(raw, limits, clock=clock)[0]


def parse_with_tree(
    raw: Buffer, limits: ParseLimits = _DEFAULT_LIMITS, *, clock: Callable[[], float] | None = None
) -> tuple[Message, Node]:
    """The message, and the root of the tree that it was read from."""
    region = whole(raw)
    return _understand(region, 0, Work(limits=limits, clock=clock, size=len(region)))


def _understand(region: Region, depth: int, work: Work) -> tuple[Message, Node]:
    header = parse_header(region, work.limits.header_bytes)
    body = region.sub(header.body_start, region.end)
    hint = charset_hint(header, body)
    builder = TreeBuilder(
        work=work, embed=lambda within, level: _understand(within, level, work)[0], unpack=unpack, hint=hint
    )
    root = builder.body(header, body, (), depth)
    return _assemble(header, root, builder), root


def _assemble(header: Header, root: Node, builder: TreeBuilder) -> Message:
    fields = _Fields(header, builder)
    bodies = choose_bodies(root)
    chosen = {id(node) for node in bodies.all()}
    leaves = [node for node in root.leaves() if not node.fallback or id(node) in chosen]
    text, html = _words(bodies, builder)
    return Message(
        subject=fields.text("subject"),
        author=fields.mailboxes("from"),
        sender=fields.mailboxes("sender"),
        reply_to=fields.mailboxes("reply-to"),
        to=fields.mailboxes("to"),
        cc=fields.mailboxes("cc"),
        message_id=parse_message_id(fields.text("message-id")),
        in_reply_to=parse_identifiers(fields.text("in-reply-to")),
        references=parse_identifiers(fields.text("references")),
        date=parse_date(fields.text("date")),
        headers=fields.decoded,
        text=text,
        html=html,
        parts=_parts(leaves),
        bodies=_parts(node for node in leaves if id(node) in chosen),
        lone_texts=_parts(bodies.lone_texts()),
        lone_htmls=_parts(bodies.lone_htmls()),
        attachments=_parts(node for node in leaves if id(node) not in chosen),
        unchosen=_parts(find_unchosen(root, chosen)),
        embedded=tuple(builder.embedded),
        defects=tuple(builder.defects),
    )


def _words(bodies: Bodies, builder: TreeBuilder) -> tuple[str, str]:
    left = builder.work.limits.body_bytes
    words: tuple[list[str], list[str]] = ([], [])
    for kind, nodes in zip(words, (bodies.texts, bodies.htmls), strict=True):
        for node in nodes:
            assert node.part is not None, "a body is a leaf"
            wanted = min(left, node.part.size)
            limit = builder.work.affordable(wanted)
            text, good = body_text(node, limit, builder.work.may_detect)
            if not good:
                builder.note(Defect.CHARSET)
            if limit < wanted:
                builder.note(Defect.OVER_BUDGET)
            if limit < node.part.size:
                builder.note(Defect.BODY_TOO_LONG)
            left = max(0, left - node.part.size)
            kind.append(text)
    return join_texts(words[0]), join_html(words[1])


def _parts(nodes: Iterable[Node]) -> tuple[Part, ...]:
    return tuple(node.part for node in nodes if node.part is not None)


class _Fields:
    """The header fields of a message, unfolded and decoded."""

    def __init__(self, header: Header, builder: TreeBuilder) -> None:
        decoded: list[tuple[str, str]] = []
        self.note = builder.note
        self.raw: dict[str, list[str]] = {}
        self.first: dict[str, str] = {}
        for name, value in header.fields:
            raw = words = raw_text(value, builder.hint)
            if "=?" in raw:
                words, sound = decode_words(raw, builder.hint)
                if not sound:
                    builder.note(Defect.ENCODED_WORD)
            text = one_line(words)
            decoded.append((name, text))
            key = name.lower()
            self.raw.setdefault(key, []).append(raw)
            self.first.setdefault(key, text)
        self.decoded = tuple(decoded)

    def text(self, name: str) -> str:
        """The first value of a field; "" when absent."""
        return self.first.get(name, "")

    def mailboxes(self, name: str) -> tuple[Mailbox, ...]:
        """The mailboxes of all fields of a name; a second To continues the first (RFC 5322 §3.6.3)."""
        if name not in self.raw:
            return ()
        text = ", ".join(self.raw[name])
        found = parse_addresses(text)
        if len(text) > MOST_TEXT or len(found) >= MOST_MAILBOXES:
            self.note(Defect.HEADER_TOO_LONG)
        return found

"""Properties of the parser: any octets, and structured mails made at random."""

from __future__ import annotations

import base64
import mmap
import quopri
import tempfile
from hashlib import sha256

import pytest
from examples import examples
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from relay.message.classify import classify
from relay.message.headers import FieldFinder, header_block
from relay.message.hops import find_hops
from relay.message.identifiers import find_message_id, find_references
from relay.message.model import Message, ParseLimits
from relay.message.parse import parse_message
from relay.vocabulary import Classification

_QUICK = settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))

_TOKENS = st.sampled_from([
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"--b", b"--b--", b"Content-Type: multipart/mixed; boundary=b\r\n", b"\r\n--b\r\n",
    b"Content-Type: message/rfc822\r\n", b"Content-Transfer-Encoding: base64\r\n", b"Content-Type: text/html\r\n",
    b"Content-Transfer-Encoding: quoted-printable\r\n", b"Subject: =?utf-8?b?", b"=?x?q?", b"?=", b"From: ", b"To: ", b'"',
    b"<", b">", b"(", b")", b",", b";", b":", b"@", b"\\", b"=", b"\x00", b"\x1b$B", b"\xff", b"\xed\xa0\x80", b"begin 644 a\n",
    b"#0V%T\n", b"\nend\n", b"Date: ", b"filename*0*=utf-8''%", b"x", b" ", b"\t", b"\x78\x9f\x3e\x22",
    b"Content-Type: application/ms-tnef\r\n", b"Content-Type: application/pkcs7-mime\r\n", b"\x30\x80",
])  # fmt: skip
_OCTETS = st.one_of(st.binary(max_size=400), st.lists(_TOKENS, max_size=60).map(b"".join))


def _fits_one_line(value: str) -> bool:
    return not any(
        ord(char) < 32 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000 for char in value
    )


def _every_header_value(message: Message) -> list[str]:
    boxes = (*message.author, *message.sender, *message.reply_to, *message.to, *message.cc)
    values = [
        message.subject,
        *(value for _, value in message.headers),
        *message.references,
        *message.in_reply_to,
    ]
    values += [text for box in boxes for text in (box.address, box.name)]
    values += [text for part in message.parts for text in (part.name or "", part.content_id or "")]
    for each in message.embedded:
        values += _every_header_value(each.message)
    return values


@_QUICK
@given(_OCTETS)
def test_any_octets_give_a_message(raw):
    """Whatever the octets, there is a message, its header values are one line each, its parts are as
    measured.
    """
    message = parse_message(raw)
    assert classify(message, null_reverse_path=False) in Classification
    assert all(map(_fits_one_line, _every_header_value(message)))
    message.text.encode("utf-8")
    message.html.encode("utf-8")
    for part in message.parts:
        octets = part.read()
        assert (len(octets), sha256(octets).hexdigest()) == (part.size, part.sha256)
    assert set(map(id, message.parts)) == set(map(id, (*message.bodies, *message.attachments)))


@_QUICK
@given(_OCTETS)
def test_parsing_is_deterministic_whatever_holds_the_octets(raw):
    """The same octets give the same message, from bytes, a view, a part of a larger view, or a map of
    a file.
    """
    message = parse_message(raw)
    assert parse_message(raw) == message
    assert parse_message(memoryview(raw)) == message
    assert parse_message(memoryview(b"##" + raw + b"##")[2 : 2 + len(raw)]) == message
    if raw:
        with tempfile.TemporaryFile() as file:
            file.write(raw)
            file.flush()
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                assert parse_message(mapped) == message


@_QUICK
@given(_OCTETS)
def test_header_readers_take_anything(raw):
    """What runs at SMTP time takes any octets, and agrees with the parser where both speak."""
    fields = FieldFinder(header_block(raw))
    hops = find_hops(fields, hostname="mx1.example.com")
    assert 0 <= hops.ours <= hops.received
    identifier = find_message_id(fields)
    assert identifier is None or (identifier.startswith("<") and _fits_one_line(identifier))
    assert len(find_references(fields)) <= 20


_CONTENT = st.binary(min_size=1, max_size=200).map(lambda octets: b"%PDF" + octets)
_NAMES = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters='"\\;'),
    min_size=1,
    max_size=30,
).filter(lambda name: name.strip() == name and "=?" not in name)


@st.composite
def _leaves(draw):
    octets = draw(_CONTENT)
    encoding = draw(st.sampled_from(["base64", "quoted-printable", "binary"]))
    name = draw(st.none() | _NAMES)
    if encoding == "binary":
        octets = octets.replace(b"\r", b"").replace(b"\n", b"")
        body = octets
    elif encoding == "base64":
        body = base64.encodebytes(octets).rstrip(b"\n").replace(b"\n", b"\r\n")
    else:
        octets = octets.replace(b"\r", b"").replace(b"\n", b"")
        body = quopri.encodestring(octets, quotetabs=True).replace(b"\n", b"\r\n")
    head = f"Content-Type: application/pdf\r\nContent-Transfer-Encoding: {encoding}\r\n".encode()
    if name is not None:
        quoted = "".join(f"%{octet:02X}" for octet in name.encode("utf-8"))
        head += f"Content-Disposition: attachment; filename*=utf-8''{quoted}\r\n".encode()
    return head + b"\r\n" + body, [(sha256(octets).hexdigest(), name)]


def _nested(children):
    def join(drawn):
        subtype, number, parts = drawn
        # Random contents cannot hold this line; nested boundaries share a prefix on purpose.
        boundary = f"=_{'x' * number}_relay".encode()
        line = b"--" + boundary
        octets = b"Content-Type: multipart/" + subtype + b'; boundary="' + boundary + b'"\r\n\r\npreamble\r\n'
        octets += (
            b"".join(line + b"\r\n" + octets_ + b"\r\n" for octets_, _ in parts) + line + b"--\r\nepilogue"
        )
        return octets, [leaf for _, leaves in parts for leaf in leaves]

    subtypes = st.sampled_from([b"mixed", b"related", b"alternative", b"signed", b"x-unknown"])
    return st.tuples(subtypes, st.integers(0, 60), st.lists(children, min_size=1, max_size=4)).map(join)


_ENTITIES = st.recursive(_leaves(), _nested, max_leaves=12)


@_QUICK
@given(_ENTITIES)
@pytest.mark.slow
def test_every_leaf_of_a_structured_mail_is_found(entity):
    """Each leaf's hash and name come out, once each and in order, whatever the nesting."""
    octets, leaves = entity
    message = parse_message(b"Subject: x\r\n" + octets)
    # Where one boundary stands for several levels, a multipart without parts is left over as text.
    files = [part for part in message.attachments if part.content_type == "application/pdf"]
    assert [(part.sha256, part.name) for part in files] == leaves


@_QUICK
@given(_ENTITIES, st.integers(0, 5), st.integers(1, 8), st.booleans())
@pytest.mark.slow
def test_larger_limits_never_lose_a_part(entity, depth, parts, deeper):
    """What a small limit still found, a larger one finds too; what it did not find is in the rest of the
    mail.
    """
    octets, leaves = entity
    raw = b"Subject: x\r\n" + octets
    small = parse_message(raw, ParseLimits(depth=depth) if deeper else ParseLimits(parts=parts))
    large = parse_message(raw, ParseLimits(depth=depth + 2) if deeper else ParseLimits(parts=parts + 3))
    whole = {digest for digest, _ in leaves}
    assert {part.sha256 for part in small.parts} & whole <= {part.sha256 for part in large.parts}
    assert len(small.parts) <= len(large.parts)
    assert deeper or len(small.parts) <= parts + 50
    assert small.defects or small.parts == large.parts


def _is_utf8(octets):
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize(
    "words", ["=?windows-1252?B?wqE=?=", "=?windows-1252?B?wg==?= =?windows-1252?B?oQ==?="]
)
def test_utf8_under_another_label_may_be_cut_between_words(words):
    """Whole words are not decoded together as if they were base64 cut within an octet."""
    assert parse_message(f"Subject: {words}\r\n\r\n".encode()).subject == "¡"


@_QUICK
@given(
    st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=120),
    st.sampled_from(["utf-8", "utf-16-le", "gb18030", "iso-2022-jp", "windows-1252", "koi8-r", "cp932"]),
    st.integers(1, 40),
)
def test_encoded_words_come_back_however_they_are_split(text, charset, step):
    """A subject encoded in base64 words, cut between any two octets, is read as it was written."""
    text = " ".join(text.split()) or "x"
    octets = text.encode(charset, "ignore")
    # Octets that are UTF-8 may be read so whatever their label says (docs/parsing.md).
    text = octets.decode(charset)
    assume(charset == "utf-8" or octets.isascii() or not _is_utf8(octets))
    if charset == "iso-2022-jp":
        step = len(octets) + 1  # RFC 1468 makes each word a text of its own
    words = [
        f"=?{charset}?B?{base64.b64encode(octets[at : at + step]).decode()}?="
        for at in range(0, len(octets), step)
    ]
    message = parse_message(("Subject: " + "\r\n ".join(words) + "\r\n\r\n").encode())
    assert message.subject == text.strip()


def test_a_clock_that_runs_out_leaves_the_rest_as_one_part():
    """Past its budget the mail is still a message: the parts so far, and the rest of it as text."""
    ticks = iter(range(1000))
    part = b"--b\r\nContent-Type: application/pdf\r\n\r\n%PDF\r\n"
    raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + part * 50 + b"--b--\r\n"
    message = parse_message(raw, ParseLimits(budget_seconds=20), clock=lambda: float(next(ticks)))
    assert [str(defect) for defect in message.defects] == ["parse.over_budget"]
    assert 1 < len(message.parts) < 50
    assert message.parts[-1].read().count(b"%PDF") == 51 - len(message.parts)

"""What single mails once did, each under its own name."""

from __future__ import annotations

import base64
import struct
import threading
import time

import pytest
from contact.factory import make_config, make_context, make_route
from hostile.shapes import SHAPES, SMALL, run
from message.mail_helpers import base64_lines, leaf, tnef

from relay.contact.fit import fit
from relay.message.addresses import MOST_MAILBOXES, parse_addresses
from relay.message.model import Defect, ParseLimits
from relay.message.octets import whole
from relay.message.parse import parse_message
from relay.message.smime import signed_content
from relay.message.tnef import SIGNATURE, parse_tnef
from relay.message.transfer import TransferEncoding, decoded_chunks


@pytest.mark.parametrize("field", ["From", "Sender", "Reply-To", "To", "Cc"])
@pytest.mark.parametrize("blank", [" ", "\t"])
def test_blanks_before_an_at_sign_do_not_stop_all_delivery(field, blank):
    """40,000 blanks in a quoted name took 13 s with the interpreter held; they are read at once, and the at
    is joined.
    """
    raw = f'{field}: "{blank * 40_000}x" a @b.example\r\n\r\nwords'.encode()
    begun = time.thread_time()
    message = parse_message(raw)
    assert time.thread_time() - begun < 0.5
    boxes = (*message.author, *message.sender, *message.reply_to, *message.to, *message.cc)
    assert ["".join(box.address.split()) for box in boxes] == ['"x"a@b.example']


def test_other_threads_go_on_while_a_hostile_header_is_read():
    """The thread beside a parse of 200,000 blanks is never kept waiting for half a second."""
    gaps: list[float] = []
    ended = threading.Event()

    def beat() -> None:
        last = time.monotonic()
        while not ended.wait(0.005):
            now = time.monotonic()
            gaps.append(now - last)
            last = now

    beside = threading.Thread(target=beat)
    beside.start()
    for unit in (b" ", b"\t", b'<"\\"', b"a"):
        parse_message(b'From: "' + run(unit, 200_000) + b'x" a @b.example\r\n\r\nwords')
    ended.set()
    beside.join()
    assert max(gaps, default=0.0) < 0.5


@pytest.mark.slow
def test_padded_lines_of_base64_raise_nothing():
    """25,002 lines of `eA==` raised out of the parse: all are read, and past 500,000 the part ends."""
    for count, most in ((25_002, 25_002), (600_000, 500_001)):
        region = whole(b"eA==\r\n" * count)
        assert b"".join(decoded_chunks(region, TransferEncoding.BASE64)) == b"x" * most


def test_a_count_of_winmail_dat_is_not_believed():
    """15,000 properties that claim 4,294,967,295 values each were walked to the end of the stream, one by
    one.
    """
    one = struct.pack("<BIIIHHIH", 1, 0x00069003, 12, 1, 0x101E, 0x3001, 0xFFFFFFFF, 0)
    begun = time.thread_time()
    assert not parse_tnef(SIGNATURE + b"\0\0" + one * 15_000).sound
    assert time.thread_time() - begun < 1.0


def test_values_of_a_fixed_size_are_jumped_over():
    """A property of many numbers hides no property behind it, and its numbers are not looked at."""
    numbers = struct.pack("<HHI", 0x1003, 0x3001, 40_000) + bytes(160_000)
    body = struct.pack("<HHII", 0x1E, 0x1000, 1, 6) + b"words\0\0\0"
    properties = struct.pack("<I", 2) + numbers + body
    stream = tnef() + struct.pack("<BII", 1, 0x00069003, len(properties)) + properties + b"\0\0"
    found = parse_tnef(stream)
    assert found.sound
    assert found.plain == b"words\0"


def test_a_quoted_winmail_dat_is_decoded_once():
    """Each of 900 files decoded the whole part anew; all of them together cost no more than a few readings
    now.
    """
    raw = SHAPES["winmail.dat quoted-printable"](SMALL)
    begun = time.thread_time()
    message = parse_message(raw)
    for part in message.attachments:
        part.read()
    assert len(message.attachments) > 250
    assert time.thread_time() - begun < 2.0


def test_a_body_ends_when_the_time_is_used_up():
    """Bodies are decoded within the time of the whole parse: 14 s of escapes past it became words before."""
    ticks = iter([0.0] + [9.999] * 3 + [11.0] * 1_000)
    raw = b"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n" + run(b"\x1b$B!!\x1b(B words\r\n", 900_000)
    message = parse_message(raw, ParseLimits(budget_seconds=10), clock=lambda: next(ticks))
    assert {Defect.OVER_BUDGET, Defect.BODY_TOO_LONG} <= set(message.defects)
    assert 30_000 < len(message.text) < 70_000
    plan = fit(message, make_context(), make_route(make_config()), make_config())
    assert [file.size for file in plan.files] == [message.bodies[0].size]


@pytest.mark.slow
def test_what_is_encoded_within_what_is_encoded_has_a_budget_of_memory():
    """Messages in quoted-printable within each other, each a copy of the rest, are closed when two mails'
    worth is kept.
    """
    inner = run(b"words and words\r\n", 20 << 20)
    entity = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    message = parse_message(entity * 10 + b"\r\n" + inner)
    levels = 0
    while message.embedded:
        levels, message = levels + 1, message.embedded[0].message
    assert levels == 2
    assert Defect.OVER_BUDGET in message.defects


def test_signed_content_in_pieces_comes_out_whole():
    """A string in definite, indefinite and nested pieces is put together; a piece of something else is not
    taken.
    """
    begin = bytes.fromhex("308006092a864886f70d010702a08030800201013100308006092a864886f70d010701a0802480")
    end = b"\0" * 14
    assert (
        signed_content(begin + b"\x04\x02ab" + b"\x24\x80\x04\x01c\0\0" + b"\x24\x03\x04\x01d" + end)
        == b"abcd"
    )
    assert signed_content(begin + b"\x04\x02ab\x02\x01\0" + end) is None
    assert signed_content(begin + b"\x24\x80" * 200_000) is None


def test_a_list_of_thousands_of_mailboxes_is_noted():
    """Past 10,000 mailboxes a list is left in the header, and the message says so."""
    raw = b"To: " + b"a@b.c," * 20_000 + b"\r\n\r\nwords"
    message = parse_message(raw)
    assert len(message.to) == MOST_MAILBOXES == len(parse_addresses("a@b.c," * 20_000))
    assert Defect.HEADER_TOO_LONG in message.defects


def test_a_boundary_of_sixteen_thousand_octets_costs_nothing():
    """A pattern was made of each boundary, 120 ms for one of 16 KB; longer than a line it is as if there were
    none.
    """
    part = leaf('multipart/mixed; boundary="' + "-" * 16_000 + '"', b"words")
    raw = leaf("multipart/mixed; boundary=b", (b"\r\n--b\r\n" + part) * 60)
    begun = time.thread_time()
    assert Defect.BOUNDARY_MISSING in parse_message(raw).defects
    assert time.thread_time() - begun < 1.0


def test_a_whole_mail_in_base64_still_opens():
    """What the budgets close is hostile; an encoded message and an encoded multipart are opened as before."""
    inner = leaf(
        "multipart/mixed; boundary=b", b"--b\r\n\r\nwords\r\n--b\r\nContent-Type: a/b\r\n\r\nx\r\n--b--\r\n"
    )
    head = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    message = parse_message(head + base64_lines(inner))
    assert message.embedded[0].message.text == "words"
    body = base64.encodebytes(inner.partition(b"\r\n\r\n")[2])
    around = b"Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    assert parse_message(around + body).text == "words"

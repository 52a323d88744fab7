"""Tests of `relay.smtp.proxy`; its behaviour on a connection is in tests/dialogs/129 to 137."""

from __future__ import annotations

import ipaddress
import re
import struct
from contextlib import closing

import pytest
from fake_spool import FakeSpool
from hypothesis import example, given
from hypothesis import strategies as st
from serving import build_config

from relay.routes import RouteTable
from relay.smtp.counters import SharedCounters
from relay.smtp.limits import Limiter
from relay.smtp.proxy import ProxyGate, parse_proxy, parse_proxy_tls, wanted
from relay.smtp.server import Server
from relay.smtp.settings import build_settings

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack("!H", len(body)) + body


def read(wire: bytes) -> bytes | None:
    """The header at the front of the octets, read as the gate reads it; None when there is none."""
    header = b""
    while (more := wanted(header)) > 0:
        if len(header) + more > len(wire):
            return None
        header = wire[: len(header) + more]
    return header if more == 0 else None


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 25\r\n", ("192.0.2.7", 4711)),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 25\r\n", ("2001:db8::7", 4711)),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
        (
            v2(1, 0x11, bytes([192, 0, 2, 7, 192, 0, 2, 1]) + struct.pack("!HH", 4711, 25)),
            ("192.0.2.7", 4711),
        ),
        (v2(1, 0x11, bytes(8) + struct.pack("!HH", 1, 2) + b"\x01\0\2ok"), ("0.0.0.0", 1)),
        (v2(0, 0x00, b""), None),
        (v2(0, 0x11, bytes(12)), None),
        (v2(1, 0x00, b""), None),
        (v2(1, 0x31, bytes(216)), None),
    ],
)
def test_header_is_read_to_the_octet(header, client):
    """A header is read whole, and not an octet of what follows it."""
    assert read(header + b"EHLO x\r\n") == header
    assert parse_proxy(header) == client


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 192.0.2.7 192.0.2.1 4711\r\n",
        b"PROXY TCP4 2001:db8::7 192.0.2.1 4711 25\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 65536 25\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 04711 25\r\n",
        b"PROXY UDP4 192.0.2.7 192.0.2.1 4711 25\r\n",
        b"PROXY TCP4 192.0.2.7  192.0.2.1 4711 25\r\n",
        b"PROXY TCP4 a b c d\r\n",
        b"PROXY TCP4 \xff 192.0.2.1 4711 25\r\n",
        v2(2, 0x11, bytes(12)),
        v2(1, 0x11, bytes(11)),
        v2(1, 0x21, bytes(12)),
        SIGNATURE + b"\x11\x11\0\0",
    ],
)
def test_malformed_header_is_refused(header):
    """A whole header that makes no sense is a ValueError."""
    assert read(header) == header
    with pytest.raises(ValueError, match=r".+"):
        parse_proxy(header)


@pytest.mark.parametrize(
    "wire",
    [
        b"EHLO mx.example\r\n",
        b"PROXY " + b"x" * 200 + b"\r\n",
        SIGNATURE + b"\x21\x11\xff\xff" + bytes(70_000),
    ],
)
def test_what_is_no_header_is_not_read_on(wire):
    """What is no header, or too long a one, ends the reading soon."""
    assert read(wire) is None


@given(st.binary(max_size=150))
def test_any_octets_end(wire):
    """Whatever comes, reading ends, and parsing gives a client, None or ValueError."""
    for front in (wire, b"PROXY " + wire, SIGNATURE + wire):
        header = read(front + bytes(5_000))
        if header is None:
            continue
        try:
            client = parse_proxy(header)
        except ValueError:
            continue
        if client is not None:
            ipaddress.ip_address(client[0])
            assert 0 <= client[1] < 65_536


@given(st.binary(max_size=80), st.sampled_from([b"\x11", b"\x21", b"\x31"]))
@example(b"\x20\x00\x05\x01\x00\x00\x00\x00", b"\x11")
@example(b"\x20\xff\xff\x01", b"\x11")
def test_tls_of_any_proxy_is_a_word_or_none(tlvs, family):
    """Whatever stands behind the addresses is the name of a protocol and a cipher, or nothing."""
    body = bytes({b"\x11": 12, b"\x21": 36, b"\x31": 216}[family]) + tlvs
    header = b"\r\n\r\n\0\r\nQUIT\n\x21" + family + len(body).to_bytes(2, "big") + body
    told = parse_proxy_tls(header)
    assert told is None or re.fullmatch(r"[A-Za-z0-9._-]{1,64} [A-Za-z0-9._-]{1,64}", told)
    if tlvs.startswith(b"\x20\x00\x05\x01") and family == b"\x11":
        assert told == "TLS unknown"


class Link:
    """A transport from another machine, and the session that begins on it."""

    connection = None

    def __init__(self):
        self.began = None

    def get_extra_info(self, _):
        return ("192.0.2.10", 40_000)

    def is_closing(self):
        return False

    def set_protocol(self, protocol):
        assert protocol is None

    def begin(self, _link, *who):
        self.began = who


@pytest.mark.parametrize(
    ("told", "client"),
    [("127.0.0.1", "192.0.2.10"), ("203.0.113.9", "203.0.113.9"), ("127.3.3.3", "192.0.2.10")],
)
async def test_proxy_elsewhere_that_tells_of_loopback_tells_of_itself(told, client):
    """A session is spared limits, and let in by default, for this machine's loopback alone."""
    config = build_config(
        listeners=[{"bind": "127.0.0.1:0", "tls": "none", "proxy_protocol": ["192.0.2.10"]}]
    )
    settings = build_settings(
        config=config, listener=config.listeners[0], routes=RouteTable(config), tls=None, users=None
    )
    with closing(SharedCounters(None)) as tally:
        server = Server(intake=FakeSpool(), limits=config.limits, limiter=Limiter(tally))
        link = Link()
        gate = ProxyGate(settings, server, lambda: link)
        gate.connection_made(link)
        for octet in f"PROXY TCP4 {told} 192.0.2.1 4000 25\r\n".encode():
            gate.get_buffer(1)[:1] = bytes([octet])
            gate.buffer_updated(1)
        assert link.began == (client, 4_000, None, "" if client == "192.0.2.10" else "192.0.2.10")
        server.close()

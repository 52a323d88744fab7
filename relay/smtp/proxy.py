"""PROXY protocol, versions 1 and 2: the client behind a listed proxy.

Owns the header's grammar (the HAProxy project's proxy-protocol.txt is the specification). Reads exactly the
header and not an octet more, so that a TLS handshake or an SMTP command right behind it is untouched. A
header is believed only from listed networks; any other client at such a listener is an ordinary peer, and a
header from it is no command.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import cast

from relay import replies, telemetry
from relay.networks import believe_address, normalise_address, normalise_peer, parse_address
from relay.smtp.connection import NEVER
from relay.smtp.protocol import Conversation
from relay.smtp.server import Server
from relay.smtp.settings import ListenerSettings, contains
from relay.smtp.tap import Tap

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
#: "PROXY UNKNOWN\r\n" is the shortest header of version 1; fewer octets do not tell the version.
_SHORTEST = 15
_LONGEST_V1 = 107  # proxy-protocol.txt §2.1, CRLF included
_FIXED_V2 = 16  # §2.2
#: Octets of addresses and TLVs: load balancers add less.
_MOST_V2 = 4_096

# proxy-protocol.txt §2.2: PP2_TYPE_SSL, PP2_SUBTYPE_SSL_VERSION and PP2_SUBTYPE_SSL_CIPHER.
_TYPE_SSL, _SUBTYPE_VERSION, _SUBTYPE_CIPHER = 0x20, 0x21, 0x23
_TLS_WORD = re.compile(r"[A-Za-z0-9._-]{1,64}")

#: The client's address and port.
Client = tuple[str, int]


def wanted(header: bytes) -> int:
    """The number of octets that are still to be read. Returns 0 when the header is whole, and -1 when the
    octets can be none.
    """
    size = len(header)
    if header.startswith(_SIGNATURE[:size]):
        if size < _SHORTEST:
            return _SHORTEST - size
        if size < _FIXED_V2:
            return _FIXED_V2 - size
        length = int.from_bytes(header[14:16], "big")
        return _FIXED_V2 + length - size if length <= _MOST_V2 else -1
    if header.startswith(b"PROXY "[:size]):
        if size < _SHORTEST:
            return _SHORTEST - size
        if header.endswith(b"\r\n"):
            return 0
        return 1 if size < _LONGEST_V1 else -1
    return -1


def parse_proxy(header: bytes) -> Client | None:
    """The client that a whole header names. Returns None when it names none (LOCAL, UNKNOWN, a Unix socket).

    Raises:
        ValueError: the header is malformed.
    """
    return _parse_v2(header) if header.startswith(_SIGNATURE) else _parse_v1(header)


def _parse_v1(header: bytes) -> Client | None:
    words = header.removesuffix(b"\r\n").decode("ascii").split(" ")
    if words[1] == "UNKNOWN":
        return None
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise ValueError("not six words")
    source = parse_address(words[2])
    # The destination is not used: on a socket for both families, proxies name addresses of either family.
    parse_address(words[3])
    if source.version == 6 and words[1] == "TCP4":
        raise ValueError("a source of another family")
    return str(source), _port(words[4], words[5])


def _port(source: str, target: str) -> int:
    for text in (source, target):
        if not (text.isdigit() and len(text) <= 5 and int(text) < 65_536 and text == str(int(text))):
            raise ValueError("not a port")
    return int(source)


def _parse_v2(header: bytes) -> Client | None:
    version, command, family = header[12] >> 4, header[12] & 15, header[13]
    if version != 2 or command > 1:
        raise ValueError("neither LOCAL nor PROXY")
    if command == 0:
        return None  # the balancer's own health check
    body = header[_FIXED_V2:]
    sizes = {0x11: 4, 0x21: 16}  # TCP over IPv4, TCP over IPv6; others name no peer of ours
    size = sizes.get(family)
    if size is None:
        return None
    if len(body) < 2 * size + 4:
        raise ValueError("too short for its addresses")
    return normalise_address(body[:size]), int.from_bytes(body[2 * size : 2 * size + 2], "big")


def parse_proxy_tls(header: bytes) -> str | None:
    """The protocol and cipher of the TLS that the proxy has ended, from the SSL TLV of version 2 (§2.2.5).
    Returns None where the client spoke in clear, or the TLV is missing or malformed.
    """
    sizes = {0x11: 12, 0x21: 36}  # addresses and ports, before the TLVs
    if not header.startswith(_SIGNATURE) or header[12] & 15 != 1:
        return None
    ssl = _split_tlvs(header[_FIXED_V2 + sizes.get(header[13], len(header)) :]).get(_TYPE_SSL, b"")
    if len(ssl) < 5 or not ssl[0] & 1:  # PP2_CLIENT_SSL
        return None
    told = _split_tlvs(ssl[5:])
    words = [told.get(kind, b"").decode("ascii", "replace") for kind in (_SUBTYPE_VERSION, _SUBTYPE_CIPHER)]
    if not all(_TLS_WORD.fullmatch(word) for word in words if word):
        return None
    return " ".join([words[0] or "TLS", words[1] or "unknown"])


def _split_tlvs(octets: bytes) -> dict[int, bytes]:
    """The values of whole TLVs by their type; of two of a type the first."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 3 <= len(octets):
        size = int.from_bytes(octets[at + 1 : at + 3], "big")
        value = octets[at + 3 : at + 3 + size]
        if len(value) == size:
            found.setdefault(octets[at], value)
        at += 3 + size
    return found


class ProxyGate(asyncio.BufferedProtocol):
    """A connection at a listener behind proxies, until its header is read. Then the session takes over."""

    def __init__(self, settings: ListenerSettings, server: Server, make: Callable[[], Conversation]) -> None:
        self.deadline = NEVER
        self.known = True
        self._settings = settings
        self._server = server
        self._make = make
        self._link: asyncio.Transport | None = None
        self._address: Client = ("unknown", 0)
        self._room = bytearray(_FIXED_V2 + _MOST_V2)
        self._header = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the header of a listed proxy; let a session of any other client begin."""
        self._link = cast("asyncio.Transport", transport)
        name = transport.get_extra_info("peername") or self._address
        self._address = (normalise_peer(str(name[0])), int(name[1]))
        if not contains(self._settings.proxies, self._address[0]):
            self._hand_over(*self._address)
            return
        self._server.sessions.add(self)
        self.deadline = self._server.loop.time() + self._settings.limits.handshake_seconds

    def get_buffer(self, _sizehint: int) -> memoryview:
        """The buffer for exactly the octets that the header still needs."""
        return memoryview(self._room)[: max(1, wanted(bytes(self._header)))]

    def buffer_updated(self, nbytes: int) -> None:
        """Take octets of the header."""
        if self._link is None or self._link.is_closing():
            return
        self._header += self._room[:nbytes]
        header = bytes(self._header)
        left = wanted(header)
        if left > 0:
            return
        if left < 0:
            self._refuse("malformed")
            return
        try:
            client = parse_proxy(header)
        except ValueError:
            self._refuse("malformed")
            return
        proxy = self._address[0]
        address, port = client or self._address
        address = believe_address(address, proxy)
        front_end = proxy if address != proxy else ""
        self._hand_over(address, port, tls=parse_proxy_tls(header), front_end=front_end)

    def eof_received(self) -> bool:
        """Close: the proxy went away without a header, after a look whether the port is open."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name for it
        """Forget the connection, which closed before the header was whole."""
        self._leave()

    def expire(self, _now: float) -> None:
        """Close: the header did not come in time."""
        if self._link is not None and self._link.is_closing():
            self._link.abort()
        else:
            self._refuse("late")

    def idle_since(self) -> float:
        """Infinity: this connection has no place that it could free. The session, which begins with the
        header, has one.
        """
        return NEVER

    def hurry(self) -> None:
        """Change nothing: a proxy sends its header at once, and has little time for it in any case."""

    def listen(self, _tap: Tap | None) -> None:
        """Change nothing: nothing has been said yet, and the session finds out by itself who listens."""

    def make_way(self) -> None:
        """Change nothing: there is no place to be freed."""

    def stop(self, *, urgent: bool) -> None:  # noqa: ARG002 - nothing is under way here
        """Close: the relay is being stopped."""
        if self._link is not None:
            self._link.write(replies.build_reply(replies.SHUTTING_DOWN))
            self._link.close()

    def _refuse(self, reason: str) -> None:
        telemetry.proxy_refused(peer=self._address[0], listener=self._settings.bind, reason=reason)
        if self._link is not None:
            self._link.write(replies.build_reply(replies.PROXY_BAD))
            self._link.close()
            self.deadline = self._server.loop.time() + 1.0

    def _leave(self) -> None:
        self._server.sessions.discard(self)

    def _hand_over(self, address: str, port: int, tls: str | None = None, front_end: str = "") -> None:
        """Begin the session with this peer."""
        self._leave()
        assert self._link is not None
        session = self._make()
        self._link.set_protocol(session.connection)
        session.begin(self._link, address, port, tls, front_end)

"""Our own trace header: the `Received:` line at the front of every mail, and the fields that a trusted
listener adds.

Owns the wording of RFC 5321 §4.4 with the protocol words of RFC 3848 and RFC 6531 §4.3. Values in, values
out. No header with our name is believed when it comes in from outside: the raw mail is kept as it came, and
our own prefix is found by its size, never by the name of a field.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache

from relay.envelope import Envelope, Peer
from relay.message.headers import FieldFinder
from relay.networks import parse_address

_UNSAFE = re.compile(r"[^A-Za-z0-9.:_\[\]-]")


def _stamp(instant: datetime) -> str:
    """The date-time of RFC 5322 §3.3 for an instant."""
    return _second(int(instant.timestamp()))


@lru_cache(maxsize=4)
def _second(since_1970: int) -> str:
    """The date-time of a second, which all mails of that second share."""
    return format_datetime(datetime.fromtimestamp(since_1970, UTC))


@lru_cache(maxsize=1_024)
def _origin(address: str, helo: str | None) -> str:
    """The words `from helo ([address])`: the name is the peer's claim, the address is what we saw (RFC 5321
    §4.4).
    """
    try:
        literal = f"[IPv6:{address}]" if parse_address(address).version == 6 else f"[{address}]"
    except ValueError:
        literal = "[unknown]"
    name = _UNSAFE.sub("?", helo or "unknown")[:255]
    return f"Received: from {name} ({literal})\r\n"


def build_received(envelope: Envelope, *, hostname: str, spool_id: str) -> bytes:
    """The `Received:` field. It names the recipient only when there is one, so that Bcc stays blind (RFC 5321
    §7.2).
    """
    peer: Peer = envelope.peer
    tls = f" ({peer.tls})" if peer.tls else ""
    first, *others = envelope.forward_paths
    sole = first.address if not others or {path.address for path in others} == {first.address} else None
    # RFC 6531 §3.7.3: only a mail that is internationalised itself names such an address in its trace.
    target = f" for <{sole}>" if sole and (sole.isascii() or envelope.smtputf8) else ""
    stamp = _stamp(envelope.received_at)
    return (
        f"{_origin(peer.address, peer.helo)}\tby {hostname} with {peer.protocol} id {spool_id}{tls}{target};\r\n"
        f"\t{stamp}\r\n"
    ).encode()


def build_missing(
    fields: FieldFinder, *, message_id: str | None, hostname: str, spool_id: str, now: datetime
) -> tuple[bytes, tuple[str, ...]]:
    """The Date and Message-ID fields that a legacy system left out (RFC 6409 §8.1-8.3), and the words for
    these repairs.
    """
    missing, repairs = b"", []
    if message_id is None:
        missing += f"Message-ID: <{spool_id}@{hostname}>\r\n".encode()
        repairs.append("message-id")
    if not fields.find(b"date"):
        missing += f"Date: {_stamp(now)}\r\n".encode()
        repairs.append("date")
    return missing, tuple(repairs)

"""The DNS servers as dnspython asks them: which there are, how long each is waited for, how much it may say.

Owns the order of the servers: one that does not answer is asked last from then on. Never caches, and never
follows a CNAME: `relay.resolver` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.nameserver
import dns.resolver

RESOLV_CONF = "/etc/resolv.conf"
TRY_SECONDS = 2.0  # the longest wait for one server, as BIND's and glibc's resolvers are commonly told
EDNS_BYTES = 1_232  # DNS flag day 2020: not fragmented on any path
RECORDS = 1_000  # dnspython reads one in 40 microseconds; no name in honest use has a tenth of these
RECORDS_AT_ONCE = 64  # more are read beside the loop, which must not stand still for 5 ms


class Server(dns.nameserver.Do53Nameserver):
    """A server whose answers over TCP are bounded, and read beside the loop when they are long."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        on_answer: Callable[[], None],
        on_silence: Callable[[Server], None],
    ) -> None:
        """A server at this address. `on_answer` or `on_silence` is called after each question; an answer
        counts whatever it says.
        """
        super().__init__(host, port)
        self._on_answer = on_answer
        self._on_silence = on_silence

    async def async_query(
        self,
        request: dns.message.QueryMessage,
        timeout: float,  # noqa: ASYNC109 - dnspython's signature
        source: str | None,
        source_port: int,
        max_size: bool,
        backend: Any,
        one_rr_per_rrset: bool = False,
        ignore_trailing: bool = False,
    ) -> dns.message.Message:
        """The response to a question, over UDP, or with `max_size` over TCP."""
        try:
            if max_size:
                async with asyncio.timeout(timeout):
                    response = await self._ask_tcp(request)
            else:
                response = await super().async_query(
                    request,
                    timeout,
                    source,
                    source_port,
                    max_size,
                    backend,
                    one_rr_per_rrset,
                    ignore_trailing,
                )
        except dns.message.Truncated:
            self._on_answer()
            raise
        except (dns.exception.Timeout, TimeoutError, OSError):
            self._on_silence(self)
            raise
        self._on_answer()
        return response

    async def _ask_tcp(self, request: dns.message.QueryMessage) -> dns.message.Message:
        reader, writer = await asyncio.open_connection(self.address, self.port)
        try:
            wire = request.to_wire()
            writer.write(len(wire).to_bytes(2) + wire)
            octets = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
        finally:
            writer.close()
        records = sum(int.from_bytes(octets[start : start + 2]) for start in (6, 8, 10))  # RFC 1035 §4.1.1
        if records > RECORDS:
            raise dns.exception.FormError("too many records")  # type: ignore[no-untyped-call]
        if records > RECORDS_AT_ONCE:
            response = await asyncio.to_thread(dns.message.from_wire, octets)
        else:
            response = dns.message.from_wire(octets)
        if not request.is_response(response) or response.flags & dns.flags.TC:
            raise dns.exception.FormError("an answer to another question, or half a one")  # type: ignore[no-untyped-call]
        return response


def build_stub(
    servers: Sequence[tuple[str, int]], *, on_answer: Callable[[], None], on_silence: Callable[[], None]
) -> dns.asyncresolver.Resolver:
    """Dnspython's resolver without its cache and its search list. After each question to a server
    `on_answer` or `on_silence` is called.
    """
    stub = dns.asyncresolver.Resolver(configure=False)
    chosen = servers or _read_resolv_conf()

    def demote(server: Server) -> None:
        """Have the server that did not answer asked last: a dead one delays one question, not each."""
        stub.nameservers = [*(each for each in stub.nameservers if each is not server), server]
        on_silence()

    stub.nameservers = [Server(host, port, on_answer=on_answer, on_silence=demote) for host, port in chosen]
    stub.timeout = TRY_SECONDS
    stub.use_edns(0, 0, EDNS_BYTES)
    return stub


def _read_resolv_conf() -> Sequence[tuple[str, int]]:
    """The servers of this machine. Returns none where the file is missing or names none."""
    machine = dns.resolver.Resolver(configure=False)
    try:
        machine.read_resolv_conf(RESOLV_CONF)
    except (dns.resolver.NoResolverConfiguration, OSError):
        return ()
    return [(host, 53) for host in machine.nameservers if isinstance(host, str)]

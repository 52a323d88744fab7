"""A DNS server of the sandbox: a few TXT records on loopback, so that mail of the demo has an origin.

Owns that server. A name that it does not have does not exist, so nobody else is ever asked. RFC 1035 §4.2.1.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import cast

import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

_SECONDS = 60


class _Server(asyncio.DatagramProtocol):
    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        try:
            query = dns.message.from_wire(data)
            question = query.question[0]
        except (dns.exception.DNSException, IndexError):
            return  # no question, no answer
        name = question.name.to_text(omit_final_dot=True).lower()
        response = dns.message.make_response(query)
        text = self._texts.get(name)
        if text is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif question.rdtype == dns.rdatatype.TXT:
            response.answer.append(dns.rrset.from_text(question.name, _SECONDS, "IN", "TXT", f'"{text}"'))
        if self._transport is not None:
            self._transport.sendto(response.to_wire(), addr)


@asynccontextmanager
async def open_dns(texts: Mapping[str, str]) -> AsyncIterator[str]:
    """Answer for these names, each with one text, until the end. Gives the address of the server."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Server(texts), local_addr=("127.0.0.1", 0))
    try:
        host, port = transport.get_extra_info("sockname")
        yield f"{host}:{port}"
    finally:
        transport.close()

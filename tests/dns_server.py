"""A DNS server on loopback, over UDP and TCP, that answers from a mapping and lies on request."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset


def _with_another_id(response):
    response.id ^= 1
    response.answer.append(dns.rrset.from_text(response.question[0].name, 60, "IN", "A", "192.0.2.66"))
    return response


def _to_another_question(response):
    response.question[0] = dns.rrset.from_text("evil.example.", 0, "IN", "A")
    response.answer.append(dns.rrset.from_text("evil.example.", 60, "IN", "A", "192.0.2.66"))
    return response


_TAMPERED = {"wrong id": _with_another_id, "wrong question": _to_another_question}


class DnsServer:
    """A server of one zone: {(name, type): records in presentation form, or a lie by its word}."""

    def __init__(self, zone, *, ttl=300, host="127.0.0.1"):
        self.zone = {(name.lower(), kind): records for (name, kind), records in zone.items()}
        self.ttl = ttl
        self.host = host
        #: True while it takes questions, and answers none.
        self.is_silent = False
        #: The questions that came, as (transport, name, type).
        self.asked = []
        self.port = 0
        #: Makes the answer to the octets of a question whose record is "octets".
        self.octets = None

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._serve_tcp, self.host, 0)
        self.port = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(
            lambda: _Udp(self), local_addr=(self.host, self.port)
        )
        return self

    async def __aexit__(self, *_):
        self._udp.close()
        self._tcp.close()
        await self._tcp.wait_closed()

    @property
    def address(self):
        return self.host, self.port

    def count(self, name):
        """How often a name was asked for."""
        return sum(asked == name for _, asked, _ in self.asked)

    async def _serve_tcp(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                wire = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
                for answer in self.answer(wire, "tcp"):
                    writer.write(len(answer).to_bytes(2) + answer)
        writer.close()

    def answer(self, wire, transport):
        """The packets that one question is answered with."""
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((transport, name, kind))
        records = "silent" if self.is_silent else self.zone.get((name, kind))
        response = dns.message.make_response(query)
        if not isinstance(records, str):
            self._fill(response, name, kind)
        elif records in _TAMPERED:
            yield _TAMPERED[records](response).to_wire()
            if transport == "udp":  # and the truth behind it
                response = dns.message.make_response(query)
                response.answer.append(self.records(name, "A", ["192.0.2.1"]))
                yield response.to_wire()
            return
        elif records == "garbage":
            yield wire[:2] + b"\x81\x80" + b"\xff" * 40
            return
        elif records == "octets":
            yield self.octets(wire)
            return
        elif records == "silent":
            return
        elif records == "endless":
            step = int(name.partition(".")[0])
            response.answer.append(self.records(name, "CNAME", [f"{step + 1}.endless.example."]))
        elif records == "servfail":
            response.set_rcode(dns.rcode.SERVFAIL)
        elif records == "truncated":
            response.flags |= dns.flags.TC
        yield self._pack(response, query.payload if transport == "udp" else 65_535)

    def _pack(self, response, most):
        packed = response.to_wire(max_size=65_535)
        if len(packed) <= most:
            return packed
        response.answer.clear()
        response.flags |= dns.flags.TC
        return response.to_wire()

    def _fill(self, response, name, kind):
        for _ in range(20):
            if records := self.zone.get((name, kind)):
                response.answer.append(self.records(name, kind, records))
                return
            if not (alias := self.zone.get((name, "CNAME"))):
                break
            response.answer.append(self.records(name, "CNAME", alias))
            name = alias[0].rstrip(".").lower()
        if not any(known == name for known, _ in self.zone):
            response.set_rcode(dns.rcode.NXDOMAIN)
        if response.rcode() or not response.answer or (name, "SOA") in self.zone:
            soa = "ns.example. root.example. 1 2 3 4 60"
            response.authority.append(self.records(name, "SOA", [soa]))

    def records(self, name, kind, records):
        return dns.rrset.from_text_list(f"{name.strip('.')}.", self.ttl, "IN", kind, records)


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server):
        self._server = server

    def connection_made(self, transport):
        self._transport = transport

    def datagram_received(self, data, addr):
        for answer in self._server.answer(data, "udp"):
            self._transport.sendto(answer, addr)


@contextlib.contextmanager
def dns_in_a_thread(zone):
    """The server in a thread of its own, for tests that wait without a loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def call(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(10)

    server = call(DnsServer(zone).__aenter__())
    try:
        yield server
    finally:
        call(server.__aexit__())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()

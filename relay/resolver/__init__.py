"""The resolver: real DNS, asked asynchronously, cached and bounded.

    resolver = build_resolver(config.dns)
    mine = resolver.within(config.dns.deadline_seconds)       # for one mail; ends at its deadline
    answer = await mine.query("example.com", RecordType.TXT)  # `relay.auth.answers` has the values
    await resolver.close()

`DnsResolver` and what `within` gives are a `relay.auth.answers.Resolver` each; its fake is
`relay.auth.zone.ZoneResolver`. A failure of DNS (silence, SERVFAIL, lies, no server) is the answer
`temperror`, never an exception; only cancellation passes through, and a question that others wait for goes
on without the one who gave up. UDP with a fallback to TCP; an answer to another question, or with another
id, is not listened to.

Owns the cache: positive answers for their TTL, an hour at most; negative ones for the TTL of RFC 2308, at
most a quarter of an hour; failures for seconds, so that a dead domain costs one mail its wait, and not
each. Bounds: the entries and octets of the cache, questions under way in all and for one mail, records of
one answer, CNAMEs in a row, and the questions and seconds of one mail. Belongs to the event loop that uses
it.

While no server answers anything, no mail waits for one: each question that needs a server is a `temperror` at
once, and the servers are asked for the root at intervals, which they know without asking anybody. So a
stranger's domain whose own servers are dead delays its own mail only.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

import dns.exception
import dns.message
import dns.name
import dns.rdatatype
import dns.resolver

from relay.absence import Absence, pass_over
from relay.auth.answers import (
    NODATA,
    NXDOMAIN,
    Answer,
    RecordType,
    Status,
    build_temperror,
    is_name,
    normalise_name,
)
from relay.config.origin import Dns
from relay.config.words import split_server
from relay.resolver.records import READERS
from relay.resolver.servers import TRY_SECONDS, Server, build_stub

CHAIN = 8  # questions for targets of CNAMEs, when the server does not follow them
FLIGHTS = 1_024  # questions under way in one process; each has a descriptor
AT_ONCE = (
    4  # of one mail: the 200 sessions of one network (limits.connections_per_network) leave places for others
)
QUESTIONS = 300  # of one mail: two SPF identities (2 x 111), 8 signatures, DMARC, lists; a flood stops here
ENTRIES = 20_000
CACHE_BYTES = 16_777_216
POSITIVE_SECONDS = 3_600.0  # so that a record that was changed is seen within the hour
NEGATIVE_SECONDS = 900.0  # RFC 2308 §5 takes one to three hours as the most; a new key is waited for
FAILURE_SECONDS = 20.0  # RFC 2308 §7 allows 5 minutes
PROBE_SECONDS = 5.0  # between two questions to servers that are away
SILENCE = "no DNS server answers"


_Key = tuple[str, RecordType]


class DnsResolver:
    """The resolver of one process."""

    def __init__(
        self,
        *,
        servers: Sequence[tuple[str, int]] = (),
        timeout_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        moved: Callable[[str], None] = pass_over,
    ) -> None:
        """Make a resolver that asks these servers (address and port), or those of /etc/resolv.conf if none
        are given.

        One question takes `timeout_seconds` at most, with all its servers and repetitions. `moved` is told
        why the servers are away, and "" when one answers again.
        """
        self._stub = build_stub(servers, on_answer=self._note_answer, on_silence=self._note_silence)
        self._absence = Absence(self._probe, every_seconds=PROBE_SECONDS, moved=self._move)
        self._moved = moved
        self._answers = 0  # responses that came, whatever they said
        self._timeout_seconds = timeout_seconds
        self._cache = _Cache(clock)
        self._flights: dict[_Key, asyncio.Task[Answer]] = {}
        self._places = asyncio.Semaphore(FLIGHTS)

    @property
    def servers(self) -> tuple[tuple[str, int], ...]:
        """The servers that are asked (address and port), the next one first."""
        return tuple(
            (server.address, server.port) for server in self._stub.nameservers if isinstance(server, Server)
        )

    async def query(self, name: str, kind: RecordType) -> Answer:
        """Ask for the records of a name: the cache, then the same question under way, then a server."""
        if (known := self.recall(name, kind)) is not None:
            return known
        if self._absence.is_away:
            return build_temperror(SILENCE)
        key = normalise_name(name), kind
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(self._fly(key), name="dns")
        return await asyncio.shield(flight)

    def recall(self, name: str, kind: RecordType) -> Answer | None:
        """The answer that needs no server. Returns None where a server must be asked."""
        name = normalise_name(name)
        return self._cache.get((name, kind)) if is_name(name) else NXDOMAIN

    def within(self, seconds: float, *, questions: int = QUESTIONS) -> _Bounded:
        """The resolver for one mail: from `seconds` after now, and from its last question on, all is
        temperror.
        """
        return _Bounded(self, seconds, questions)

    @property
    def away(self) -> str:
        """The reason why no server is asked now; "" while they are."""
        return self._absence.why

    def retire(self) -> None:
        """Look for absent servers no longer: another resolver takes over."""
        self._absence.close()

    async def close(self) -> None:
        """End all questions that are under way."""
        self.retire()
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _move(self, why: str) -> None:
        if not why:
            self._cache.drop_failures()  # of servers that were away, not of the names
        self._moved(why)

    def _note_answer(self) -> None:
        self._answers += 1
        self._absence.note_answer()

    def _note_silence(self) -> None:
        self._absence.suspect(SILENCE)

    async def _probe(self) -> bool:
        """Ask each server for the root. Returns whether any gave an answer, whatever it says."""
        before = self._answers
        lifetime = TRY_SECONDS * max(len(self._stub.nameservers), 1)
        with contextlib.suppress(dns.exception.DNSException, OSError, ValueError):
            await self._stub.resolve(dns.name.root, "NS", search=False, lifetime=lifetime)
        return self._answers > before

    async def _fly(self, key: _Key) -> Answer:
        try:
            answer, seconds = await self._ask(key)
            self._cache.put(key, answer, seconds)
            return answer
        finally:
            del self._flights[key]

    async def _ask(self, key: _Key) -> tuple[Answer, float]:
        """The answer of the servers, and how many seconds it holds."""
        try:
            async with asyncio.timeout(self._timeout_seconds), self._places:
                return await self._follow(*key)
        except (TimeoutError, dns.resolver.LifetimeTimeout):
            self._note_silence()
            return build_temperror("no DNS server answered in time"), FAILURE_SECONDS
        except dns.resolver.NoNameservers:
            return build_temperror("the DNS servers failed"), FAILURE_SECONDS
        except (dns.exception.DNSException, OSError, ValueError):
            return build_temperror("the DNS answer could not be read"), FAILURE_SECONDS

    async def _follow(self, name: str, kind: RecordType) -> tuple[Answer, float]:
        """Ask for a name, and for the target of its CNAME where the server leaves that to us."""
        asked = _to_wire(name)
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._timeout_seconds
        for _ in range(CHAIN):
            try:
                # A datagram that comes just then can swallow the cancellation by our time-out
                # (asyncio.wait_for in Python 3.11, python/cpython#86296); then the lifetime ends it.
                found = await self._stub.resolve(
                    asked,
                    kind.value,
                    raise_on_no_answer=False,
                    search=False,
                    lifetime=max(ends - loop.time(), 0.0),
                )
            except dns.resolver.NXDOMAIN as exc:
                return NXDOMAIN, _negative_seconds(exc.response(asked))  # type: ignore[no-untyped-call]
            if found.rrset is not None:
                ttl = found.response.resolve_chaining().minimum_ttl
                return READERS[kind](list(found.rrset)), min(float(ttl), POSITIVE_SECONDS)
            if found.canonical_name == asked or _has_soa(found.response):
                return NODATA, _negative_seconds(found.response)
            asked = found.canonical_name
        return build_temperror("a chain of CNAMEs has no end"), NEGATIVE_SECONDS


def build_resolver(dns: Dns, moved: Callable[[str], None] = pass_over) -> DnsResolver:
    """The resolver that a configuration asks for; `moved` hears when its servers go away and come back."""
    servers = tuple(map(split_server, dns.servers))
    return DnsResolver(servers=servers, timeout_seconds=dns.timeout_seconds, moved=moved)


class _Bounded:
    """The resolver for one mail: a deadline and a number of questions."""

    def __init__(self, resolver: DnsResolver, seconds: float, questions: int) -> None:
        self._resolver = resolver
        self._ends = asyncio.get_running_loop().time() + seconds
        self._questions = questions
        self._places = asyncio.Semaphore(AT_ONCE)

    async def query(self, name: str, kind: RecordType) -> Answer:
        """Ask as `DnsResolver.query` does, as long as there are time and questions left."""
        if self._questions <= 0:
            return build_temperror("the mail asks too much of the DNS")
        self._questions -= 1
        if (known := self._resolver.recall(name, kind)) is not None:
            return known
        try:
            async with asyncio.timeout_at(self._ends), self._places:
                return await self._resolver.query(name, kind)
        except TimeoutError:
            return build_temperror("the deadline for DNS has passed")


class _Cache:
    """The answers that still hold; the one that was used longest ago goes first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._held: OrderedDict[_Key, tuple[Answer, float, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: _Key) -> Answer | None:
        held = self._held.get(key)
        if held is None:
            return None
        if held[1] <= self._clock():
            self._drop(key)
            return None
        self._held.move_to_end(key)
        return held[0]

    def put(self, key: _Key, answer: Answer, seconds: float) -> None:
        if seconds <= 0:
            return
        self._drop(key)
        size = len(key[0]) + sum(map(len, answer.texts + answer.names)) + 16 * len(answer.addresses) + 400
        self._held[key] = answer, self._clock() + seconds, size
        self._bytes += size
        while self._bytes > CACHE_BYTES or len(self._held) > ENTRIES:
            self._drop(next(iter(self._held)))

    def drop_failures(self) -> None:
        """Forget the questions that got no answer: they may be asked again."""
        for key in [key for key, held in self._held.items() if held[0].status is Status.TEMPERROR]:
            self._drop(key)

    def _drop(self, key: _Key) -> None:
        held = self._held.pop(key, None)
        self._bytes -= held[2] if held else 0


def _to_wire(name: str) -> dns.name.Name:
    return dns.name.Name([*name.encode("latin-1").split(b"."), b""])


def _has_soa(response: dns.message.Message) -> bool:
    """Returns whether a negative answer is authoritative for the end of the chain (RFC 2308 §2.2)."""
    return any(rrset.rdtype == dns.rdatatype.SOA for rrset in response.authority)


def _negative_seconds(response: dns.message.QueryMessage) -> float:
    return min(float(response.resolve_chaining().minimum_ttl), NEGATIVE_SECONDS)

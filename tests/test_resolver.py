"""Tests of `relay.resolver`, each against a DNS server on loopback that speaks UDP and TCP."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import time

import dns.message
import dns.rrset
import pytest
import uvloop
from dns_server import DnsServer
from hypothesis import given
from hypothesis import strategies as st

from relay.auth.answers import RecordType, Status
from relay.resolver import AT_ONCE, DnsResolver
from relay.resolver.servers import RECORDS, TRY_SECONDS

A, MX, PTR, TXT, AAAA, TLSA = (
    RecordType.A,
    RecordType.MX,
    RecordType.PTR,
    RecordType.TXT,
    RecordType.AAAA,
    RecordType.TLSA,
)
ZONE = {
    ("example.com", "A"): ["192.0.2.1", "192.0.2.2"],
    ("example.com", "AAAA"): ["2001:db8::1"],
    ("example.com", "TXT"): ['"v=spf1 " "-all"', '"\\195\\169"'],
    ("example.com", "MX"): ["20 B.example.com.", "10 a.example.com."],
    ("null.example", "MX"): ["0 ."],
    ("1.2.0.192.in-addr.arpa", "PTR"): ["Host.example.com.", "a\\.b.example.com."],
    ("_25._tcp.mx.example.com", "TLSA"): ["3 1 0 0aff"],
    ("www.example.com", "CNAME"): ["example.com."],
    ("elsewhere.example", "CNAME"): ["gone.example."],
    ("long.example", "TXT"): [f'"{"x" * 200}" "{n}"' for n in range(90)],
    ("huge.example", "A"): [f"10.0.{n >> 8}.{n & 255}" for n in range(RECORDS + 1)],
    ("liar.example", "A"): "wrong id",
    ("other.example", "A"): "wrong question",
    ("cut.example", "A"): "truncated",
    ("silent.example", "A"): "silent",
    ("broken.example", "A"): "servfail",
    ("garbage.example", "A"): "garbage",
    ("loop.example", "CNAME"): ["loop.example."],
    ("hostile.example", "A"): "octets",
    **{(f"{n}.endless.example", "A"): "endless" for n in range(40)},
}


@contextlib.asynccontextmanager
async def resolving(zone=ZONE, *, timeout_seconds=5.0, **more):
    async with DnsServer(zone) as server:
        resolver = DnsResolver(servers=[server.address], timeout_seconds=timeout_seconds, **more)
        try:
            yield resolver, server
        finally:
            await resolver.close()


@pytest.mark.parametrize(
    ("name", "kind", "field", "records"),
    [
        ("EXAMPLE.com.", A, "addresses", ("192.0.2.1", "192.0.2.2")),
        ("example.com", AAAA, "addresses", ("2001:db8::1",)),
        ("example.com", TXT, "texts", (b"v=spf1 -all", b"\xc3\xa9")),
        ("example.com", MX, "names", ("a.example.com", "b.example.com")),
        ("null.example", MX, "names", ("",)),
        ("1.2.0.192.in-addr.arpa", PTR, "names", ("host.example.com",)),
        ("_25._tcp.mx.example.com", TLSA, "texts", (b"\x03\x01\x00\x0a\xff",)),
        ("www.example.com", A, "addresses", ("192.0.2.1", "192.0.2.2")),
    ],
)
async def test_records_become_values(name, kind, field, records):
    """Each type of record comes out as octets, addresses or names, CNAMEs followed, names in lower case."""
    async with resolving() as (resolver, _):
        answer = await resolver.query(name, kind)
    assert answer.status is Status.FOUND
    found = getattr(answer, field)
    # dnspython's server gives the records of a set in any order.
    assert (
        found if kind is MX else tuple(sorted(map(str, found) if field == "addresses" else found))
    ) == records


@pytest.mark.parametrize(
    ("name", "kind", "status"),
    [
        ("example.com", PTR, Status.NODATA),
        ("www.example.com", TLSA, Status.NODATA),
        ("nobody.example", A, Status.NXDOMAIN),
        ("elsewhere.example", A, Status.NXDOMAIN),
        ("silent.example", A, Status.TEMPERROR),
        ("broken.example", A, Status.TEMPERROR),
        ("garbage.example", A, Status.TEMPERROR),
        ("cut.example", A, Status.TEMPERROR),
        ("huge.example", A, Status.TEMPERROR),
        ("loop.example", A, Status.TEMPERROR),
        ("0.endless.example", A, Status.TEMPERROR),
    ],
)
async def test_absence_and_failure_are_values(name, kind, status):
    """A name without the record, a name that is not there, and each way to fail are answers, not
    exceptions.
    """
    async with resolving(timeout_seconds=0.5) as (resolver, _):
        answer = await resolver.query(name, kind)
    assert answer.status is status
    assert bool(answer.reason) == (status is Status.TEMPERROR)
    assert not answer.texts + answer.addresses + answer.names


@pytest.mark.parametrize("name", ["liar.example", "other.example"])
async def test_an_answer_to_another_question_is_not_listened_to(name):
    """A packet with another id or another question is passed over, and the true one behind it counts."""
    async with resolving() as (resolver, _):
        answer = await resolver.query(name, A)
    assert answer.addresses == (ipaddress.ip_address("192.0.2.1"),)


async def test_truncation_leads_to_tcp():
    """A set that does not fit a datagram comes whole, over TCP."""
    async with resolving() as (resolver, server):
        answer = await resolver.query("long.example", TXT)
    assert len(answer.texts) == 90
    assert [transport for transport, _, _ in server.asked] == ["udp", "tcp"]


async def test_a_server_with_an_ipv6_address_is_asked():
    """Over IPv6 a server answers by UDP, and by TCP what does not fit a packet."""
    texts = [f'"{number:0>200}"' for number in range(10)]
    zone = {("small.example", "A"): ["192.0.2.1"], ("large.example", "TXT"): texts}
    try:
        server = await DnsServer(zone, host="::1").__aenter__()
    except OSError:
        pytest.skip("this machine has no IPv6")
    try:
        resolver = DnsResolver(servers=[server.address])
        small = await resolver.query("small.example", RecordType.A)
        large = await resolver.query("large.example", RecordType.TXT)
    finally:
        await server.__aexit__()
    assert [str(address) for address in small.addresses] == ["192.0.2.1"]
    assert len(large.texts) == len(texts)
    assert [how for how, _, _ in server.asked] == ["udp", "udp", "tcp"]


@pytest.mark.parametrize(
    "name", ["", ".", "a..example", f"{'a' * 64}.example", "a." * 127 + "aa", "\u20ac.example"]
)
async def test_a_name_that_cannot_be_is_not_asked_for(name):
    """Empty and long labels, long names and letters that are no octets are NXDOMAIN without a question."""
    async with resolving() as (resolver, server):
        assert (await resolver.query(name, A)).status is Status.NXDOMAIN
    assert server.asked == []


@pytest.mark.parametrize(("name", "kind"), [("example.com", A), ("example.com", PTR), ("nobody.example", A)])
async def test_an_answer_is_asked_for_once_while_it_holds(name, kind):
    """Records, their absence and the name's are cached for their time to live, and then asked for again."""
    now = [0.0]
    async with resolving(clock=lambda: now[0]) as (resolver, server):
        first = await resolver.query(name, kind)
        assert await resolver.query(name.upper(), kind) is first
        assert server.count(name) == 1
        now[0] = 301.0
        assert (await resolver.query(name, kind)).status is first.status
        assert server.count(name) == 2


async def test_a_failure_is_remembered_for_seconds():
    """A server that fails is not asked for each mail, and soon asked again."""
    now = [0.0]
    async with resolving(clock=lambda: now[0]) as (resolver, server):
        await resolver.query("broken.example", A)
        asked = server.count("broken.example")
        assert (await resolver.query("broken.example", A)).status is Status.TEMPERROR
        assert server.count("broken.example") == asked
        now[0] = 30.0
        await resolver.query("broken.example", A)
        assert server.count("broken.example") > asked


async def test_a_record_without_time_to_live_is_asked_for_each_time():
    """A time to live of zero is kept to."""
    async with resolving() as (resolver, server):
        server.ttl = 0
        await resolver.query("example.com", A)
        await resolver.query("example.com", A)
    assert server.count("example.com") == 2


async def test_the_same_question_is_under_way_once():
    """Many sessions that ask for one name at one time cost one question, and one that gives up ends
    no other.
    """
    async with resolving() as (resolver, server):
        impatient = asyncio.create_task(resolver.query("example.com", A))
        others = [asyncio.create_task(resolver.query("example.com", A)) for _ in range(20)]
        await asyncio.sleep(0)
        impatient.cancel()
        answers = await asyncio.gather(*others)
    assert {answer.status for answer in answers} == {Status.FOUND}
    assert server.count("example.com") == 1
    assert impatient.cancelled()


async def test_a_mail_waits_at_most_its_deadline():
    """Past the deadline of a mail every question is a temperror at once, whatever the servers do."""
    async with resolving(timeout_seconds=30.0) as (resolver, server):
        mine = resolver.within(0.2)
        began = time.monotonic()
        answer = await mine.query("silent.example", A)
        again = await mine.query("example.com", A)
        took = time.monotonic() - began
    assert answer.status is again.status is Status.TEMPERROR
    assert "deadline" in answer.reason
    assert took < 2
    assert server.count("example.com") == 0


async def test_junk_at_the_instant_of_the_time_out_is_waited_for_no_longer():
    """Junk that comes with the time-out, to a loop that was busy, does not make the question any longer."""

    def junk(wire):
        time.sleep(0.3)
        return wire[:2] + b"\x81\x80" + b"\xff" * 40

    async with resolving(timeout_seconds=0.2) as (resolver, server):
        server.octets = junk
        began = time.monotonic()
        answer = await resolver.query("hostile.example", A)
        took = time.monotonic() - began
    assert answer.status is Status.TEMPERROR
    assert took < TRY_SECONDS


async def test_a_mail_asks_a_bounded_number_of_questions():
    """The last question of a mail is followed by temperrors, and the next mail starts anew."""
    async with resolving() as (resolver, _):
        mine = resolver.within(5.0, questions=2)
        statuses = [(await mine.query(f"{n}.example", A)).status for n in range(3)]
        assert statuses == [Status.NXDOMAIN, Status.NXDOMAIN, Status.TEMPERROR]
        assert (await resolver.within(5.0).query("2.example", A)).status is Status.NXDOMAIN


async def test_a_dead_server_delays_one_question():
    """A server that is not there is asked last from then on; the next of the list answers."""
    async with DnsServer(ZONE) as server, DnsServer({}) as gone:
        dead = gone.address
        await gone.__aexit__()
        resolver = DnsResolver(servers=[dead, server.address], timeout_seconds=5.0)
        assert (await resolver.query("example.com", A)).status is Status.FOUND
        began = time.monotonic()
        assert (await resolver.query("www.example.com", A)).status is Status.FOUND
        assert time.monotonic() - began < TRY_SECONDS / 2
        await resolver.close()


async def ask_until(resolver, status):
    """Ask for a name that is not in the cache again and again, until the answer is of this kind."""
    async with asyncio.timeout(20):
        while (answer := await resolver.query(f"{time.monotonic_ns()}.example", A)).status is not status:
            await asyncio.sleep(0.01)  # between two looks
    return answer


async def test_servers_that_answer_nothing_are_asked_at_intervals(monkeypatch):
    """While no server answers, a question costs nothing, and none is sent but the probe's. The cache goes on,
    and so does everything once a server answers the probe, also questions that had failed meanwhile. The
    silence and its end are told once each.
    """
    monkeypatch.setattr("relay.resolver.PROBE_SECONDS", 0.1)
    monkeypatch.setattr("relay.resolver.TRY_SECONDS", 0.2)
    told = []
    async with resolving(timeout_seconds=0.5, moved=told.append) as (resolver, server):
        await resolver.query("example.com", A)
        server.is_silent = True
        await resolver.query("www.example.com", A)
        async with asyncio.timeout(20):
            while not resolver.away:
                await asyncio.sleep(0.01)  # between two looks
        asked = len(server.asked)
        began = time.process_time()
        answers = [await resolver.query(f"{number}.example", A) for number in range(100)]
        assert time.process_time() - began < 0.5
        assert {(each.status, each.reason) for each in answers} == {
            (Status.TEMPERROR, "no DNS server answers")
        }
        assert (await resolver.query("example.com", A)).status is Status.FOUND
        assert {kind for _, _, kind in server.asked[asked:]} <= {"NS"}
        server.is_silent = False
        await ask_until(resolver, Status.NXDOMAIN)
        assert (await resolver.query("www.example.com", A)).status is Status.FOUND
    assert told == ["no DNS server answers", ""]


async def test_a_server_that_is_not_there_is_away(monkeypatch):
    """Where nobody listens, the server is away, too, and a resolver that has retired asks nobody."""
    monkeypatch.setattr("relay.resolver.TRY_SECONDS", 0.2)
    async with DnsServer({}) as gone:
        dead = gone.address
    told = []
    resolver = DnsResolver(servers=[dead], timeout_seconds=0.2, moved=told.append)
    answer = await ask_until(resolver, Status.TEMPERROR)
    async with asyncio.timeout(20):
        while not resolver.away:
            answer = await resolver.query("example.com", A)
            await asyncio.sleep(0.01)  # between two looks
    assert answer.status is Status.TEMPERROR
    resolver.retire()
    assert told == ["no DNS server answers"]
    await resolver.close()


async def test_a_dead_domain_takes_no_server_away(monkeypatch):
    """A stranger whose domains are never answered for has his own mail wait, however many of them there are:
    the server answers for the root, so other mail goes on.
    """
    monkeypatch.setattr("relay.resolver.TRY_SECONDS", 0.2)
    silent = {(f"{number}.silent.example", "A"): "silent" for number in range(20)}
    told = []
    async with resolving({**ZONE, **silent}, timeout_seconds=0.3, moved=told.append) as (resolver, server):
        answers = await asyncio.gather(*(resolver.query(name, A) for name, _ in silent))
        assert {each.status for each in answers} == {Status.TEMPERROR}
        assert (await resolver.query("example.com", A)).status is Status.FOUND
        assert "NS" in [kind for _, _, kind in server.asked]
        assert not resolver.away
    assert told == []


async def test_closing_ends_what_is_under_way():
    """A resolver that is closed leaves no task behind."""
    async with DnsServer(ZONE) as server:
        resolver = DnsResolver(servers=[server.address], timeout_seconds=30.0)
        waiting = asyncio.create_task(resolver.query("silent.example", A))
        await asyncio.sleep(0)
        await resolver.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting


def test_uvloop_serves_as_well():
    """On the loop that the daemon runs on where it is installed, UDP and TCP work the same."""

    async def ask():
        async with resolving() as (resolver, _):
            return [await resolver.query(*each) for each in (("example.com", A), ("long.example", TXT))]

    answers = uvloop.run(ask())
    assert [len(answers[0].addresses), len(answers[1].texts)] == [2, 90]


async def test_a_resolver_without_servers_knows_nothing(monkeypatch):
    """Where no server is configured and the machine names none, every question is a temperror at once."""
    monkeypatch.setattr("relay.resolver.servers.RESOLV_CONF", "/nonexistent")
    resolver = DnsResolver()
    assert resolver.servers == ()
    assert (await resolver.query("example.com", A)).status is Status.TEMPERROR


async def test_a_mail_takes_few_places():
    """A mail asks few questions at once, so that mails which nobody answers leave places for others."""
    silent = {(f"{n}.silent.example", "A"): "silent" for n in range(2 * AT_ONCE)}
    async with resolving({**ZONE, **silent}, timeout_seconds=30.0) as (resolver, server):
        mine = resolver.within(0.3)
        asked = [mine.query(name, A) for name, _ in silent]
        statuses = {answer.status for answer in await asyncio.gather(*asked)}
    assert statuses == {Status.TEMPERROR}
    assert len(server.asked) == AT_ONCE


async def test_the_cache_is_bounded(monkeypatch):
    """What was used longest ago makes room when the cache has too many answers, or too many octets."""
    monkeypatch.setattr("relay.resolver.ENTRIES", 2)
    async with resolving() as (resolver, server):
        for name in ("example.com", "nobody.example", "example.com", "www.example.com", "example.com"):
            await resolver.query(name, A)
        assert server.count("example.com") == 1
        monkeypatch.setattr("relay.resolver.CACHE_BYTES", 5_000)
        await resolver.query("long.example", TXT)
        await resolver.query("example.com", A)
        await resolver.query("long.example", TXT)
    assert server.count("example.com") == 2
    assert server.count("long.example") == 4  # over UDP and TCP each time: it has more octets than the cache


#: A whole answer, as a server gives it, to be spoilt.
SOUND = dns.message.make_response(dns.message.make_query("hostile.example", "A"))
SOUND.answer.append(dns.rrset.from_text("hostile.example.", 60, "IN", "CNAME", "www.example.com."))
SOUND.answer.append(dns.rrset.from_text("www.example.com.", 60, "IN", "A", "192.0.2.1", "192.0.2.2"))
HEAD = 12 + len(b"\x07hostile\x07example\x00") + 4  # RFC 1035 §4.1: what makes it an answer to the question
TAIL = SOUND.to_wire()[HEAD:]


@given(
    flags=st.binary(min_size=2, max_size=2) | st.just(b"\x81\x80"),
    counts=st.binary(min_size=6, max_size=6) | st.just(SOUND.to_wire()[6:12]),
    changes=st.lists(st.tuples(st.integers(0, len(TAIL) - 1), st.integers(0, 255)), max_size=6),
    end=st.integers(0, len(TAIL)) | st.just(len(TAIL)),
    more=st.binary(max_size=40),
)
async def test_no_octets_of_a_server_can_raise(flags, counts, changes, end, more):
    """Whatever stands behind the id and the question, over UDP and over TCP, is one of the four answers."""
    tail = bytearray(TAIL)
    for at, octet in changes:
        tail[at] = octet
    async with resolving(timeout_seconds=0.05) as (resolver, server):
        server.octets = lambda wire: (
            wire[:2] + flags + b"\0\1" + counts + wire[12:HEAD] + bytes(tail[:end]) + more
        )
        began = time.process_time()
        answer = await resolver.query("hostile.example", A)
        assert time.process_time() - began < 1
    assert answer.status in Status
    assert all(isinstance(each, ipaddress.IPv4Address) for each in answer.addresses)

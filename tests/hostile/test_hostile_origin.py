"""No octets of peers, signers, DNS, scanners, files or tables raise, cost a second, or pass for ours."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
import re
import time
import unicodedata
from datetime import UTC, datetime

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rdtypes.ANY.MX
import dns.rdtypes.ANY.PTR
import dns.rdtypes.ANY.TXT
import dns.rdtypes.IN.A
import dns.rrset
import pytest
from auth.signing import MAIL, der, record, rsa_key, sign
from dns_server import DnsServer
from examples import examples
from hostile.showing import MARK, hold, hold_attributes, logged, octets, texts
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relay.auth.answers import Answer, Status, build_temperror
from relay.auth.origin import OriginTerms, Sent, find_origin
from relay.auth.signed import read_signed_mail
from relay.aws.tables import find_entries, list_entries
from relay.config.builtin import builtin_config
from relay.errors import RemoteError
from relay.explain import Explainer, Origin
from relay.lists.file import ListFile
from relay.networks import parse_address, parse_network
from relay.resolver import DnsResolver
from relay.scan.clamd import read_reply
from relay.scan.model import build_scan_attributes
from relay.scan.rspamd import read_answer

pytestmark = pytest.mark.slow

TERMS = OriginTerms(
    seconds=5.0,
    relays=(parse_network("192.0.2.0/24"),),
    sealers=("bank.example",),
    dnsbl=("bl.example",),
    upstream="rspamd",
    upstream_anywhere=True,
)
AT = datetime(2027, 1, 15, tzinfo=UTC)
SIGNED = sign(MAIL, rsa_key())
#: Records of each kind, which are spoilt below.
RECORDS = [
    b"v=spf1 include:%{d}.a.example exists:%{i}.%{h}.b.example mx a ptr redirect=%{o} -all",
    b"v=spf1 a:%{s} ip4:203.0.113.6 exp=x.example ~all",
    b"v=DMARC1; p=reject; sp=none; np=quarantine; adkim=s; t=y; psd=n; rua=mailto:a@b.example",
    record(rsa_key()),
    b"v=DKIM1; k=ed25519; p=" + base64.b64encode(b"x" * 32),
]
FIELDS = [
    b"From: ", b"From: The Bank <service@bank.example>\r\n", b"DKIM-Signature: v=1; a=rsa-sha256; d=bank.example; s=s1;",
    b" h=from:to; bh=AA==; b=AA==; c=relaxed/simple; l=1; t=1; x=2; i=", b"\r\n", b"\r\n ", b"ARC-Seal: i=1; cv=none;",
    b"ARC-Message-Signature: i=1; a=rsa-sha256;", b"ARC-Authentication-Results: i=1; mx.ours; dmarc=pass header.from=",
    b"Received: from ", b" (x [203.0.113.6]) by gw.ours with SMTP; x\r\n", b"X-Spamd-Result: ", b"Authentication-Results: gw.ours;",
]  # fmt: skip


def spoilt(whole):
    """Octets with others put in at any places, or cut off."""
    return st.tuples(st.lists(st.tuples(st.integers(0, 400), octets), max_size=3), st.integers(0, 900)).map(
        lambda changes: _spoil(whole, *changes)
    )


def _spoil(whole, inserted, end):
    for at, more in inserted:
        whole = whole[:at] + more + whole[at:]
    return whole[:end] if end % 3 == 0 else whole


def mails():
    """A signed mail with a spoilt header, or a header of pieces."""
    pieces = st.lists(st.one_of(st.sampled_from(FIELDS), octets), max_size=12).map(b"".join)
    return st.one_of(
        spoilt(SIGNED),
        st.tuples(pieces, st.just(SIGNED)).map(b"".join),
        pieces.map(lambda each: each + b"\r\n\r\nx\r\n"),
    )


class Liar:
    """A DNS whose answers are chosen by chance from what a stranger may publish."""

    def __init__(self, texts, names, seed):
        self._texts, self._names, self._seed = texts or [b""], names or [""], seed

    async def query(self, name, kind):
        chance = random.Random(f"{name!r} {kind} {self._seed}")
        match chance.randrange(8):
            case 0:
                return build_temperror("a server failed")
            case 1:
                return Answer(status=Status.NXDOMAIN)
            case 2:
                return Answer(status=Status.NODATA)
        if kind in ("A", "AAAA"):
            address = "127.0.0.2" if name.endswith("bl.example") else "203.0.113.6"
            return Answer(status=Status.FOUND, addresses=(parse_address(address),))
        if kind in ("MX", "PTR"):
            return Answer(status=Status.FOUND, names=tuple(chance.choices(self._names, k=3)))
        return Answer(status=Status.FOUND, texts=tuple(chance.choices(self._texts, k=chance.randrange(1, 3))))


def find(raw, resolver, *, helo="c.example", reverse_path="a@bank.example", peer="203.0.113.6"):
    """The attributes that the origin of a mail makes, and the processor time that they took."""
    begun = time.process_time()
    sent = Sent(
        peer=parse_address(peer),
        helo=helo,
        reverse_path=reverse_path,
        mail=read_signed_mail([raw]),
        received_at=AT,
    )
    found = asyncio.run(find_origin(sent, resolver, TERMS))
    return found.attributes, time.process_time() - begun


@settings(max_examples=examples(40), deadline=None)
@given(
    raw=mails(),
    helo=texts,
    reverse_path=st.one_of(st.none(), texts, texts.map(lambda text: f"{text}@bank.example")),
    records=st.lists(st.one_of(octets, *map(spoilt, RECORDS)), max_size=5),
    names=st.lists(texts, max_size=3),
    peer=st.sampled_from(["203.0.113.6", "192.0.2.7", "2001:db8::6"]),
    seed=st.integers(0, 50),
)
@example(
    b"From: a@b.example\r\n" * 3_000 + b"\r\n",
    "x",
    None,
    [b"v=spf1 " + b"a:b " * 1_000],
    [],
    "203.0.113.6",
    1,
)
@example(
    SIGNED[:30] + b"DKIM-Signature: h=" + b"from:" * 9_000 + b"\r\n" + SIGNED,
    "x" * 500,
    "x" * 4_000,
    RECORDS,
    ["x." * 120],
    "192.0.2.7",
    2,
)
def test_origin_of_any_mail_from_anybody(raw, helo, reverse_path, records, names, peer, seed):
    """HELO, reverse-path, header, signatures, keys and records of any octets have results, in time, and no
    place that shows them lets a stranger's words pass for ours.
    """
    attributes, seconds = find(
        raw, Liar(records, names, seed), helo=helo, reverse_path=reverse_path, peer=peer
    )
    assert seconds < 1
    hold(attributes, helo=helo, reverse_path=reverse_path)


class WireLiar(DnsServer):
    """A server whose answers have the octets that a stranger chose, in texts and in names."""

    def __init__(self, texts, labels):
        super().__init__({})
        self._texts, self._labels = texts or [b""], labels or [b"x"]

    def answer(self, wire, transport):
        query = dns.message.from_wire(wire)
        question = query.question[0]
        response = dns.message.make_response(query)
        target = dns.name.Name([*(each[:63] or b"x" for each in self._labels[:3]), b"evil", b"example", b""])
        match question.rdtype:
            case dns.rdatatype.TXT:
                strings = [each[at : at + 255] for each in self._texts for at in range(0, len(each), 255)]
                data = [dns.rdtypes.ANY.TXT.TXT(1, 16, [each]) for each in strings or [b""]]
            case dns.rdatatype.PTR:
                data = [dns.rdtypes.ANY.PTR.PTR(1, 12, target)]
            case dns.rdatatype.MX:
                data = [dns.rdtypes.ANY.MX.MX(1, 15, 10, target)]
            case dns.rdatatype.A:
                data = [dns.rdtypes.IN.A.A(1, 1, "203.0.113.6")]
            case _:
                data = []
        if data:
            response.answer.append(dns.rrset.from_rdata_list(question.name, 60, data))
        packed = response.to_wire(max_size=65_535)
        if transport == "udp" and len(packed) > query.payload:
            response.answer.clear()
            response.flags |= dns.flags.TC
            packed = response.to_wire()
        yield packed


@settings(max_examples=examples(25), deadline=None)
@given(
    records=st.lists(st.one_of(octets, *map(spoilt, RECORDS)), max_size=4),
    labels=st.lists(octets, max_size=3),
)
def test_origin_by_any_octets_of_a_server_of_dns(records, labels):
    """Texts and names that come over the wire have results, in time, and are shown as others' words."""

    async def ask():
        async with WireLiar(records, labels) as server:
            resolver = DnsResolver(servers=(server.address,), timeout_seconds=2.0)
            sent = Sent(
                peer=parse_address("203.0.113.6"),
                helo="c.example",
                reverse_path="a@bank.example",
                mail=read_signed_mail([SIGNED]),
                received_at=AT,
            )
            try:
                return await find_origin(sent, resolver.within(5.0), TERMS)
            finally:
                await resolver.close()

    begun = time.process_time()
    attributes = asyncio.run(ask()).attributes
    assert time.process_time() - begun < 1
    hold(attributes)


@pytest.mark.parametrize("kind", range(len(RECORDS)))
def test_long_records_cost_little(kind):
    """A record of 60,000 octets, of any piece of one, is read in time, wherever it is asked for."""
    for piece in (b" a:b", b"%{d}", b"; p=none", b"; x=", b"A", b"%", b"=", b" include:%{l1r-}", b"\r\n"):
        answer = [RECORDS[kind] + piece * (60_000 // len(piece))]
        attributes, seconds = find(SIGNED, Liar(answer, ["x"], 3))
        assert seconds < 1, piece
        hold_attributes(attributes)


def test_most_signatures_by_the_largest_keys_cost_less_than_a_second():
    """Eight DKIM signatures and fifty ARC sets, four keys of 8,192 bits at each name, and none that fits."""
    number = (1 << 8_191) + 12_345_679
    records = tuple(b"p=" + base64.b64encode(der(0x30, number + 2 * at, (1 << 32) - 1)) for at in range(4))

    class Keys(Liar):
        async def query(self, name, kind):
            return (
                Answer(status=Status.FOUND, texts=records) if "_domainkey" in name else build_temperror("x")
            )

    digest = re.search(rb"bh=([^;]+);", SIGNED)[1]
    ends = b"; bh=" + digest + b"; b=" + base64.b64encode(b"\x7f" * 1_024) + b"\r\n"
    signed = b"".join(
        b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=a.example; s=s%d; h=from" % at + ends
        for at in range(8)
    )
    for at in range(50, 0, -1):
        chain = b"none" if at == 1 else b"pass"
        signed += b"ARC-Seal: i=%d; cv=%b; a=rsa-sha256; d=a.example; s=a%d" % (at, chain, at) + ends.replace(
            b"; bh=" + digest, b""
        )
        signed += (
            b"ARC-Message-Signature: i=%d; a=rsa-sha256; c=relaxed/relaxed; d=a.example; s=m%d; h=from"
            % (at, at)
        )
        signed += ends + b"ARC-Authentication-Results: i=%d; x; dmarc=pass\r\n" % at
    attributes, seconds = find(signed + MAIL, Keys([], [], 1))
    # On a busy machine these eight may need all the time that a mail has for them.
    assert attributes["relay_dkim"] in {"fail", "temperror"}
    assert attributes["relay_arc"] == "temperror"
    assert "processor time" in attributes["relay_arc_detail"]
    assert seconds < 1


clamd_replies = st.one_of(
    octets, octets.map(lambda each: b"stream: " + each + b" FOUND"), st.sampled_from([b"stream: OK", b""])
)
numbers = st.one_of(st.floats(), st.integers(), texts, st.none(), st.booleans(), st.just(10**400))
json_values = st.recursive(
    numbers,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)
rspamd_answers = st.one_of(
    octets,
    json_values.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries(
        {"action": st.sampled_from(["reject", "no action", MARK]), "score": numbers},
        optional={
            "required_score": numbers,
            "symbols": st.dictionaries(
                texts, st.one_of(json_values, st.fixed_dictionaries({"score": numbers})), max_size=5
            ),
        },
    ).map(lambda value: json.dumps(value).encode()),
)


@settings(max_examples=examples(50), deadline=None)
@given(reply=clamd_replies, complete=st.booleans(), answer=rspamd_answers)
@example(b"", True, b'{"action":"reject","score":' + b"9" * 1_000_000 + b"}")
@example(b"", True, b'{"action":"reject","score":0.' + b"9" * 1_000_000 + b"}")
@example(b"", True, b'{"action":"reject","score":1e' + b"9" * 1_000_000 + b"}")
@example(b"", True, b'{"action":"reject","symbols":{"' + b"\\ud800" * 150_000 + b'":{"score":1}}}')
@example(b"", True, b'{"a":' * 9_000 + b"1" + b"}" * 9_000)
@example(b"stream: " + b"\x1b" * 1_000_000 + b" FOUND", True, b"")
def test_any_reply_of_a_scanner(reply, complete, answer):
    """Whatever a scanner says is a result, in time, and its names are quoted wherever they are shown."""
    begun = time.process_time()
    attributes = build_scan_attributes([read_reply(reply, complete), read_answer(answer)])
    assert time.process_time() - begun < 1
    hold(attributes)


@settings(max_examples=examples(40), deadline=None)
@given(before=octets, after=st.one_of(octets, octets.map(lambda each: each + b"\n@spam.example\n")))
@example(b"", b"@" + b"a." * 2_000_000 + b"\n")
@example(b"", b"x@spam.example\n" * 100_000)
@example(b"", b"\xff\n" * 500_000)
def test_any_file_of_a_list(tmp_path_factory, before, after):
    """A file of any octets is read in time, and what the log says of it is one line."""
    path = tmp_path_factory.mktemp("lists") / "blocked"
    with logged("console") as stream:
        made = ListFile("blocked", path, steady=lambda: 0.0)
        begun = time.process_time()
        for content in (before, after):
            path.write_bytes(content)
            made.refresh()
        assert isinstance(made.holds(MARK), bool)
        assert time.process_time() - begun < 1
    assert all(line.isprintable() and MARK not in line for line in stream.getvalue().split("\n"))


class Table:
    """A client of DynamoDB that answers as a stranger's server might."""

    def __init__(self, answer):
        self._answer = answer

    async def batch_get_item(self, **_):
        return self._answer

    async def scan(self, **_):
        return self._answer


items = st.lists(
    st.one_of(
        json_values, texts.map(lambda text: {"address": {"S": text}}), st.just({"address": {"N": "1"}})
    ),
    max_size=4,
)


@settings(max_examples=examples(40), deadline=None)
@given(answer=st.one_of(json_values, items.map(lambda each: {"Responses": {"vip": each}, "Items": each})))
async def test_any_items_of_a_table(answer):
    """A table that answers with anything has entries that are text, or is away."""
    with contextlib.suppress(RemoteError):
        found = await find_entries(Table(answer), "vip", ["a@b.example"], seconds=5)
        assert all(isinstance(each, str) for each in found)
    if isinstance(answer, dict):
        answer.pop("LastEvaluatedKey", None)
    with contextlib.suppress(RemoteError):
        assert all([isinstance(each, str) async for each in list_entries(Table(answer), "vip", seconds=5)])


@settings(max_examples=examples(25), deadline=None)
@given(
    helo=texts,
    reverse_path=texts,
    results=st.dictionaries(
        st.sampled_from(["relay_spf", "relay_dmarc", "relay_spam"]), st.sampled_from(["pass", "fail", "spam"])
    ),
)
def test_any_session_makes_attributes_of_one_line(helo, reverse_path, results):
    """All attributes of a contact, those of the session among them, are bounded and end no line."""
    origin = Origin(helo=helo, reverse_path=reverse_path, is_sender_given=True, attributes=results)
    (explanation,) = Explainer(builtin_config(), recipients=["support@example.com"]).explain(
        "f", MAIL, origin
    )
    attributes = explanation.request["Attributes"]
    assert set(results) <= set(attributes)
    kinds = {unicodedata.category(each) for value in attributes.values() for each in value}
    assert not kinds & {"Cc", "Cs", "Zl", "Zp"}, attributes
    assert sum(len((name + value).encode()) for name, value in attributes.items()) <= 32_768

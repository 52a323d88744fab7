"""Tests of `relay.auth.spf` over zones of their own, `relay.auth.spf_record` and `relay.auth.spf_macro`
within.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.auth.answers import NODATA, Answer, RecordType, Status, build_temperror
from relay.auth.spf import check_helo, check_mail_from
from relay.auth.spf_macro import SpfSyntaxError
from relay.auth.spf_record import RECORD_OCTETS, parse_record
from relay.auth.spf_result import SpfIdentity, SpfResult
from relay.auth.words import Result
from relay.auth.zone import ZoneResolver

PEER = "192.0.2.9"
PEER6 = "2001:db8::9"
BASE = {
    "mail.example": {"TXT": ["v=spf1 a -all"], "A": [PEER]},
    "pass.example": {"TXT": ["v=spf1 +all"]},
    "fail.example": {"TXT": ["v=spf1 -all"]},
    "neutral.example": {"TXT": ["v=spf1 ?all"]},
    "broken.example": {"TXT": ["v=spf1 what"]},
    "away.example": {"TXT": "TIMEOUT", "A": "SERVFAIL", "MX": "TIMEOUT"},
    "plain.example": {"A": [PEER], "AAAA": [PEER6], "MX": ["10 out.plain.example"]},
    "out.plain.example": {"A": ["192.0.2.77"]},
    "near.example": {"A": ["192.0.2.200"], "AAAA": ["2001:db8::ffff"], "MX": ["5 near.example"]},
    "crowd.example": {"MX": [f"10 m{n}.crowd.example" for n in range(11)]},
    "9.2.0.192.in-addr.arpa": {"PTR": ["forged.example", "host.named.example", "away.example"]},
    "host.named.example": {"A": [PEER]},
    "forged.example": {"A": ["192.0.2.1"]},
    "9.2.0.192.list.example": {"A": ["127.0.0.2"]},
    "some.user.list.example": {"A": ["127.0.0.2"]},
    "resu.list.example": {"A": ["127.0.0.2"]},
    "loop.example": {"TXT": ["v=spf1 include:loop.example"]},
    "ring.example": {"TXT": ["v=spf1 redirect=ring.example"]},
}


def check(record, *, peer=PEER, sender="some.user@here.example", helo="mail.example", zone=None):
    """The result for a sender in here.example, which has this record, beside the names of BASE."""
    records = record if isinstance(record, list) else [record]
    names = {**BASE, "here.example": {"TXT": records}, **(zone or {})}
    return asyncio.run(
        check_mail_from(
            ipaddress.ip_address(peer), helo=helo, reverse_path=sender, resolver=ZoneResolver(names)
        )
    )


@pytest.mark.parametrize(
    ("record", "result"),
    [
        # Qualifiers, and what is said when nothing matches
        ("v=spf1", "neutral"),
        ("v=spf1 all", "pass"),
        ("v=spf1 +all", "pass"),
        ("v=spf1 -all", "fail"),
        ("v=spf1 ~all", "softfail"),
        ("v=spf1 ?all", "neutral"),
        ("V=SPF1 -ALL", "fail"),
        ("v=spf1   -all  ", "fail"),
        # Which records are of SPF
        ([], "none"),
        (["v=spf10 -all", "v=spf1\t-all", " v=spf1 -all", "something"], "none"),
        (["v=spf1 -all", "verification=1"], "fail"),
        (["v=spf1 -all", "v=spf1 -all"], "permerror"),
        ([["v=spf1 ip4:192.0", ".2.9 -all"]], "pass"),
        # Addresses
        ("v=spf1 ip4:192.0.2.9 -all", "pass"),
        ("v=spf1 ip4:192.0.2.200/25 -all", "fail"),
        ("v=spf1 ip4:192.0.2.1/24 -all", "pass"),
        ("v=spf1 ip4:0.0.0.0/0 -all", "pass"),
        ("v=spf1 ip6:::ffff:192.0.2.9 -all", "fail"),
        ("v=spf1 a:plain.example -all", "pass"),
        ("v=spf1 a:near.example -all", "fail"),
        ("v=spf1 a:near.example/24 -all", "pass"),
        ("v=spf1 A:near.example/24//64 -all", "pass"),
        ("v=spf1 a:near.example//64 -all", "fail"),
        ("v=spf1 a:near.example/0 -all", "pass"),
        ("v=spf1 mx:plain.example -all", "fail"),
        ("v=spf1 mx:near.example/24 -all", "pass"),
        # Names
        ("v=spf1 ptr:named.example -all", "pass"),
        ("v=spf1 ptr:host.NAMED.example -all", "pass"),
        ("v=spf1 ptr:med.example -all", "fail"),
        ("v=spf1 ptr:forged.example -all", "fail"),
        ("v=spf1 exists:%{ir}.list.example -all", "pass"),
        ("v=spf1 exists:%{l}.list.example -all", "pass"),
        ("v=spf1 exists:%{i}.list.example -all", "fail"),
        ("v=spf1 exists:%{p} -all", "pass"),
        ("v=spf1 exists:%{l1r-}.%{o}.list.example -all", "fail"),
        # Other records
        ("v=spf1 include:pass.example -all", "pass"),
        ("v=spf1 include:fail.example ~all", "softfail"),
        ("v=spf1 include:neutral.example ~all", "softfail"),
        ("v=spf1 include:plain.example ~all", "permerror"),
        ("v=spf1 include:nobody.example ~all", "permerror"),
        ("v=spf1 include:broken.example ~all", "permerror"),
        ("v=spf1 include:away.example ~all", "temperror"),
        ("v=spf1 redirect=fail.example", "fail"),
        ("v=spf1 redirect=fail.example ?all", "neutral"),
        ("v=spf1 redirect=nobody.example", "permerror"),
        ("v=spf1 redirect=plain.example", "permerror"),
        ("v=spf1 redirect=away.example", "temperror"),
        # DNS that fails, where it does and does not matter
        ("v=spf1 a:away.example -all", "temperror"),
        ("v=spf1 mx:away.example -all", "temperror"),
        ("v=spf1 exists:away.example -all", "temperror"),
        ("v=spf1 ptr:away.example -all", "fail"),
        ("v=spf1 ip4:192.0.2.9 a:away.example", "pass"),
        # Limits
        ("v=spf1 a:a.example a:b.example -all", "fail"),
        ("v=spf1 a:a.example a:b.example a:c.example -all", "permerror"),
        ("v=spf1 a:..example a:c..example exists:d..example -all", "fail"),
        ("v=spf1 mx:mail.example ptr a:c.example -all", "fail"),
        ("v=spf1 include:PASS.example -all", "pass"),
        ("v=spf1 " + "a:near.example " * 10 + "-all", "fail"),
        ("v=spf1 " + "a:near.example " * 11 + "-all", "permerror"),
        ("v=spf1 mx:crowd.example -all", "permerror"),
        ("v=spf1 include:loop.example", "permerror"),
        ("v=spf1 redirect=ring.example", "permerror"),
        # Modifiers
        ("v=spf1 exp=why.example -all", "fail"),
        ("v=spf1 moo.cow-1_x=%{c}%{r}%{t} -all", "fail"),
        ("v=spf1 -all unknown=%{ unknown=", "permerror"),
        ("v=spf1 exp=a.example exp=b.example -all", "permerror"),
        ("v=spf1 redirect=a.example redirect=b.example", "permerror"),
    ],
)
def test_a_record_has_its_result(record, result):
    """Each mechanism, modifier and limit gives the word that RFC 7208 says."""
    found = check(record)
    assert found.result == result, found


@pytest.mark.parametrize(
    "term",
    [
        "what", "a:", "a/33", "a/08", "a//129", "a//", "a/", "a:plain", "a:plain.123", "a:plain.-x", "a:plain.x-",
        "a:x.%{c}", "a:%{z}", "a:%{l", "a:%", "a:%a", "a:%{l0}", "a:%{lr2}", "a:caf\u00e9.example", "all:x", "all/8",
        "ip4", "ip4:", "ip4:192.0.2", "ip4:192.0.2.256", "ip4:192.0.2.9/33", "ip4:192.0.2.9/024", "ip4:192.0.2.9/",
        "ip4:::1", "ip6:192.0.2.9", "ip6:fe80::1%1", "ip6:::1/129", "include", "include:", "exists", "exists/24",
        "ptr/24", "mx:%{d}/33", "-", "+-all", "redirect=", "exp=", "redirect=%{c}.example", "1x=y", "=y",
        "\x00", "a\tb", "-all\r\n",
    ],
)  # fmt: skip
def test_a_mistake_anywhere_is_an_error(term):
    """A term that breaks the grammar spoils the record, even behind a term that would have matched."""
    found = check(f"v=spf1 ip4:192.0.2.9 {term}")
    assert found.result is Result.PERMERROR, found


@pytest.mark.parametrize(
    ("record", "result"),
    [
        ("v=spf1 ip6:2001:db8::/32 -all", "pass"),
        ("v=spf1 ip6:2001:db8::8/127 -all", "pass"),
        ("v=spf1 ip4:0.0.0.0/0 -all", "fail"),
        ("v=spf1 a:plain.example -all", "pass"),
        ("v=spf1 a:near.example/0 -all", "fail"),
        ("v=spf1 a:near.example//64 -all", "pass"),
        ("v=spf1 exists:%{ir}.%{v}.arpa -all", "pass"),
        # This peer has no name, which is found in vain
        ("v=spf1 ptr a:c.example -all", "fail"),
        ("v=spf1 ptr a:c.example exists:d.example -all", "permerror"),
        ("v=spf1 exists:%{p}.example a:c.example exists:d.example -all", "permerror"),
        # Three hosts of an MX without any IPv6 are one term, and that term has found its MX
        ("v=spf1 mx:old.example mx:old.example mx:old.example -all", "fail"),
    ],
)
def test_a_record_has_its_result_for_ipv6(record, result):
    """A peer with an IPv6 address is judged by AAAA, by ip6, and by nibbles."""
    reverse = ipaddress.ip_address(PEER6).reverse_pointer
    zone = {reverse: {"A": ["127.0.0.2"]}, "old.example": {"MX": ["1 mail.example", "2 out.plain.example"]}}
    assert check(record, peer=PEER6, zone=zone).result == result


def test_a_mapped_address_is_the_ipv4_address():
    """A peer that a socket names ::ffff:192.0.2.9 is 192.0.2.9."""
    assert check("v=spf1 ip4:192.0.2.9 -all", peer="::ffff:192.0.2.9").result is Result.PASS


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        # The examples of RFC 7208 §7.4 with names of our own
        ("%{s}.x.example", "strong-bad@mail.one.example.x.example"),
        ("%{o}.x.example", "mail.one.example.x.example"),
        ("%{d4}.x.example", "mail.one.example.x.example"),
        ("%{d1}.x.example", "example.x.example"),
        ("%{dr}.x.example", "example.one.mail.x.example"),
        ("%{d2r}.x.example", "one.mail.x.example"),
        ("%{l-}.x.example", "strong.bad.x.example"),
        ("%{lr-}.x.example", "bad.strong.x.example"),
        ("%{l1r-}.x.example", "strong.x.example"),
        ("%{L}.%{D2}.x.example", "strong-bad.one.example.x.example"),
        ("%{S}.x.example", "strong-bad%40mail.one.example.x.example"),
        ("%{i}._spf.%{d2}", "192.0.2.9._spf.one.example"),
        ("%{ir}.%{v}._spf.%{d2}", "9.2.0.192.in-addr._spf.one.example"),
        ("%{h}.%%%_%-.example", "mail.example.% %20.example"),
        ("%{p}.x.example", "unknown.x.example"),
        ("x.example.", "x.example"),
        ("%{l99999999999999999999r}.x.example", "strong-bad.x.example"),
        ("%{d}." * 15 + "x.example", "mail.one.example." * 14 + "x.example"),
    ],
)
async def test_macros_are_expanded(spec, name):
    """Letters, digits, reversal, delimiters, escapes and the cut at 253 characters make the name that is
    asked.
    """
    resolver = Asked({"mail.one.example": f"v=spf1 exists:{spec} -all"})
    await check_mail_from(
        ipaddress.ip_address(PEER),
        helo="Mail.example",
        reverse_path="strong-bad@mail.one.example",
        resolver=resolver,
    )
    assert resolver.names[-1] == name


@pytest.mark.parametrize(
    "helo", ["[192.0.2.9]", "[IPv6:2001:db8::9]", "192.0.2.9", "localhost", "", "a..b", "-"]
)
async def test_no_dns_is_asked_for_what_is_no_name(helo):
    """An address, an address literal and a name of one label have no record, and cost no question."""
    resolver = Asked({})
    found = await check_helo(ipaddress.ip_address(PEER), helo=helo, resolver=resolver)
    assert found.result is Result.NONE
    assert resolver.names == []


class Asked:
    """A resolver that has one record a domain and keeps the names that it was asked for."""

    def __init__(self, records):
        self._records = records
        self.names = []

    async def query(self, name, kind):
        self.names.append(name)
        if kind is RecordType.TXT and name in self._records:
            return Answer(status=Status.FOUND, texts=(self._records[name].encode(),))
        return NODATA


async def test_an_explanation_is_not_fetched():
    """No domain's explanation is asked for, so none can be passed on."""
    resolver = Asked({"here.example": "v=spf1 exp=why.example -all"})
    found = await check_mail_from(
        ipaddress.ip_address(PEER), helo="h.example", reverse_path="a@here.example", resolver=resolver
    )
    assert found.result is Result.FAIL
    assert resolver.names == ["here.example"]


@pytest.mark.parametrize(
    ("sender", "helo", "result", "domain"),
    [
        (None, "mail.example", "pass", "mail.example"),
        ("", "mail.example", "pass", "mail.example"),
        (None, "[192.0.2.9]", "none", ""),
        (None, "localhost", "none", "localhost"),
        (None, "", "none", ""),
        ("@fail.example", "mail.example", "fail", "fail.example"),
        ("nobody", "mail.example", "none", "nobody"),
        ('"a@b"@FAIL.example.', "mail.example", "fail", "fail.example"),
        ("a@b\u00fccher.example", "mail.example", "fail", "xn--bcher-kva.example"),
        ("a@xn--bcher-kva.example", "mail.example", "fail", "xn--bcher-kva.example"),
        ("a@" + "b" * 64 + ".example", "mail.example", "none", ""),
        ("a@..example", "mail.example", "none", ""),
        ("a" * 2_000 + "@fail.example", "mail.example", "none", ""),
        ("a@nobody.example", "mail.example", "none", "nobody.example"),
    ],
)
def test_the_sender_has_a_domain(sender, helo, result, domain):
    """The domain comes of the reverse-path, a null one of HELO; what is no name of several labels has no
    result.
    """
    found = check(
        "v=spf1", sender=sender, helo=helo, zone={"xn--bcher-kva.example": {"TXT": ["v=spf1 -all"]}}
    )
    assert (found.result, found.domain) == (result, domain)
    assert found.identity is SpfIdentity.MAIL_FROM


@pytest.mark.parametrize(("helo", "result"), [("MAIL.example", "pass"), ("out.plain.example", "none")])
async def test_the_name_in_helo_is_an_identity(helo, result):
    """HELO is checked by itself, whatever the reverse-path is."""
    found = await check_helo(ipaddress.ip_address(PEER), helo=helo, resolver=ZoneResolver(BASE))
    assert (found.result, found.identity, found.domain) == (result, SpfIdentity.HELO, helo.lower())


def test_a_local_part_beyond_ascii_matches_nothing():
    """Terms with the letters s and l match no local-part that DNS cannot carry (RFC 8616 §4)."""
    record = "v=spf1 exists:%{l}.list.example a:%{s}.example exists:%{o} -all"
    zone = {"here.example": {"TXT": [record], "A": [PEER]}}
    assert check("", sender="r\u00e9my@here.example", zone=zone).mechanism == "exists:%{o}"


def test_the_result_says_what_decided():
    """The mechanism, the domain whose record has it, and the number of look-ups stand in the result."""
    zone = {"other.example": {"TXT": ["v=spf1 a:near.example ~a:plain.example -all"]}}
    found = check("v=spf1 mx:plain.example redirect=other.example", zone=zone)
    assert found == SpfResult(
        result=Result.SOFTFAIL,
        identity=SpfIdentity.MAIL_FROM,
        domain="here.example",
        mechanism="~a:plain.example",
        decided_by="other.example",
        reason='"~a:plain.example" in the record of "other.example" matched',
        lookups=4,
    )


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ([], '"here.example" has no SPF record'),
        ("v=spf1", 'no mechanism in the record of "here.example" matched'),
        ("v=spf1 include:nobody.example", 'an include in the record of "here.example" leads to no record'),
        ("v=spf1 redirect=nobody.example", 'redirect in the record of "here.example" leads to no record'),
        (
            "v=spf1 a:%{z}",
            'the record of "here.example" has a macro letter that may not stand there in "a:%{z}"',
        ),
        ('v=spf1 "\x07', 'the record of "here.example" has a mechanism that SPF does not know in "??"'),
        ("v=spf1 a:away.example", 'the A of "away.example": the server failed'),
        ("v=spf1 include:away.example", 'the record of "away.example": no server answered in time'),
        ("v=spf1 " + "a:near.example " * 11, "it takes more than 10 look-ups"),
        ("v=spf1 a:x.example a:y.example a:z.example", "more than 2 look-ups find nothing"),
    ],
)
def test_the_reason_is_in_words_of_ours(record, reason):
    """The reason says what happened; what a stranger wrote stands in quotes, without controls and quotes of
    its own.
    """
    assert check(record).reason == reason


def test_a_record_beyond_reason_is_an_error():
    """A record over the limit is no record to be worked through."""
    with pytest.raises(SpfSyntaxError, match="octets"):
        parse_record(b"v=spf1 " + b"a " * RECORD_OCTETS)


RESULT_TEXT = re.compile(r'(?:[^"\x00-\x1f\x7f]|"[ !#-\[\]-~]*")*')
HOST = re.compile(r"[a-z0-9._-]*")


def assert_is_safe(found):
    """No field of a result can end a line, close a quote or smuggle a token."""
    assert found.result in Result
    assert HOST.fullmatch(found.domain)
    assert HOST.fullmatch(found.decided_by)
    assert re.fullmatch(r"[!-~]*", found.mechanism)
    assert RESULT_TEXT.fullmatch(found.reason)
    assert len(found.reason) < 600


names = st.text("a.%{}-_" + string.ascii_letters, max_size=30) | st.sampled_from(["a.example", "b.a.example"])
terms = st.sampled_from(
    [
        "a", "mx", "ptr", "a:", "mx:", "include:", "exists:", "redirect=", "exp=", "ip4:", "ip6:", "all", "-", "~", "/",
        "//", "24", "%{", "d", "l1r+-", "}", ".", "example", "a.example", "b.a.example", "192.0.2.0", "2001:db8::", " ",
        "%%", "%_", "%-", "S", "p", "i", "h", "\u00ff", "\r\n", "\x00", '"', "\\", ";", "v=spf1",
    ]
)  # fmt: skip
records = st.builds("v=spf1 {}".format, st.lists(terms, max_size=40).map("".join)).map(
    lambda text: text.encode("latin-1")
) | st.binary(max_size=200)


@st.composite
def answers(draw):
    """An answer as hostile servers give it."""
    status = draw(st.sampled_from(list(Status)))
    if status is not Status.FOUND:
        return build_temperror("x") if status is Status.TEMPERROR else Answer(status=status)
    return Answer(
        status=status,
        texts=tuple(draw(st.lists(records, max_size=2))),
        addresses=tuple(draw(st.lists(st.ip_addresses(), max_size=3))),
        names=tuple(draw(st.lists(names, max_size=12))),
    )


class Hostile:
    """A resolver that answers each question by the next of some answers."""

    def __init__(self, given_answers):
        self._answers = given_answers
        self.asked = 0

    async def query(self, name, kind):
        self.asked += 1
        return self._answers[self.asked % len(self._answers)]


@given(
    peer=st.ip_addresses(),
    helo=st.text(max_size=40) | st.just("h.example"),
    sender=st.none() | st.text(max_size=60) | st.just("a.b+c@a.example"),
    dns=st.lists(answers(), min_size=1, max_size=6),
)
async def test_no_peer_and_no_server_can_break_a_check(peer, helo, sender, dns):
    """Any HELO, any reverse-path and any answers end in a word, within the limits, and with a clean
    result.
    """
    resolver = Hostile(dns)
    found = await check_mail_from(peer, helo=helo, reverse_path=sender, resolver=resolver)
    assert_is_safe(found)
    assert_is_safe(await check_helo(peer, helo=helo, resolver=resolver))
    assert found.lookups <= 11
    assert resolver.asked <= 2 * (1 + 11 * 12 + 11)


@given(octets=st.lists(records, min_size=1, max_size=3).map(b" ".join))
def test_any_octets_are_a_record_or_an_error(octets):
    """Every octet string is read, or refused by the documented error."""
    try:
        parse_record(octets)
    except SpfSyntaxError as error:
        assert RESULT_TEXT.fullmatch(str(error))  # noqa: PT017 - either way is right


@pytest.mark.parametrize(
    "term",
    ["a", "a:", "0" * 99, "%{l1r-}", "%{", "a/", "ip4:192.0.2.1", "a:" + "1.", "x=%{S}", "-" * 50, "a.-"],
)
async def test_the_longest_record_costs_little(term):
    """Records of the greatest size, each leading to the next, cost less than a second for the longest
    sender.
    """
    longest = ("v=spf1 " + f"{term} " * (RECORD_OCTETS // (len(term) + 1)))[: RECORD_OCTETS - 40]
    glued = ("v=spf1 exists:" + term * (RECORD_OCTETS // len(term)))[: RECORD_OCTETS - 40]
    records = {
        f"{n}.here.example": f"{text[:-40]} redirect={n + 1}.here.example"
        for n, text in enumerate([longest, glued] * 6)
    }
    began = time.process_time()
    found = await check_mail_from(
        ipaddress.ip_address(PEER),
        helo="h" * 200 + ".example",
        reverse_path=f"{'a-' * 450}@0.here.example",
        resolver=Asked(records),
    )
    assert time.process_time() - began < 1
    assert_is_safe(found)

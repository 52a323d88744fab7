"""All checks of a mail at once: their results together, within one deadline, whatever DNS does."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import logging
import time
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest
from auth.signing import AT, MAIL, der, ed25519_key, make_field, record, rsa_key, seal, sign
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from relay import telemetry
from relay.auth.check import MailFacts, check
from relay.auth.fields import HEADER_BYTES
from relay.auth.identity import build_identity_attributes
from relay.auth.signed import read_signed_mail
from relay.auth.words import Result
from relay.auth.zone import ZoneResolver

ZONE = {
    "bank.example": {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]},
    "_dmarc.bank.example": {"TXT": ["v=DMARC1; p=reject"]},
    "s1._domainkey.bank.example": {"TXT": [record(rsa_key()).decode()]},
    "s1._domainkey.list.example": {"TXT": [record(rsa_key()).decode()]},
}


def facts_of(octets, *, peer="192.0.2.1", reverse_path="bounce@bank.example"):
    """What the checks look at."""
    return MailFacts(
        peer=None if peer is None else ip_address(peer),
        helo="mail.bank.example",
        reverse_path=reverse_path,
        mail=read_signed_mail([octets]),
        received_at=datetime.fromtimestamp(AT, UTC),
    )


def words(results):
    """The words of SPF, HELO, DKIM, ARC and DMARC."""
    return " ".join((
        results.spf.result if results.spf else "-",
        results.helo.result if results.helo else "-",
        ",".join(each.result for each in results.dkim) or "none",
        results.arc.result,
        results.dmarc.result,
    ))  # fmt: skip


class Silence:
    """A resolver that answers for some names of the zone, and waits for ever when asked for others."""

    def __init__(self, *, but=()):
        self.zone = ZoneResolver({name: ZONE[name] for name in but})
        self.names = but
        self.asked = []

    async def query(self, name, kind):
        self.asked.append(name)
        if name not in self.names:
            await asyncio.Event().wait()
        return await self.zone.query(name, kind)


async def test_lists_are_asked_about_the_peer_that_is_judged():
    """Each list has a result in the order of the configuration, one that keeps silent is `temperror`, and
    the worst is the mail's word; a mail that is judged for nobody has none.
    """
    zone = ZoneResolver(ZONE | {"1.2.0.192.bad.example": {"A": ["127.0.0.2"]}})

    class Partly:
        async def query(self, name, kind):
            if name.endswith("mute.example"):
                await asyncio.Event().wait()
            return await zone.query(name, kind)

    lists = ("good.example", "mute.example", "bad.example")
    results = await check(facts_of(MAIL), Partly(), seconds=0.3, dnsbl=lists)
    assert [(each.zone, each.result) for each in results.dnsbl] == [
        ("good.example", "none"),
        ("mute.example", "temperror"),
        ("bad.example", "fail"),
    ]
    said = build_identity_attributes(results)
    assert said["relay_dnsbl"] == "fail"
    assert said["relay_dnsbl_detail"].endswith("bad.example: the address is on the list (127.0.0.2)")
    results = await check(facts_of(MAIL, peer=None), zone, seconds=1, dnsbl=lists)
    assert (results.dnsbl, "relay_dnsbl" in build_identity_attributes(results)) == (None, False)


@pytest.mark.parametrize(
    ("octets", "options", "expected"),
    [
        (sign(MAIL, rsa_key()), {}, "pass none pass none pass"),
        (sign(MAIL, rsa_key()), {"peer": "192.0.2.9"}, "fail none pass none pass"),
        (MAIL, {}, "pass none none none pass"),
        (MAIL, {"peer": "192.0.2.9"}, "fail none none none fail"),
        (MAIL, {"peer": None}, "- - none none fail"),
        (MAIL, {"reverse_path": None}, "none none none none fail"),
        (sign(MAIL, rsa_key()) + b"more\r\n", {"peer": "192.0.2.9"}, "fail none fail none fail"),
        (seal(MAIL, rsa_key()), {"peer": "192.0.2.9"}, "fail none none pass fail"),
        (sign(MAIL, rsa_key(), d="mail.bank.example"), {}, "pass none permerror none pass"),
        (b"Subject: x\r\n\r\nbody", {}, "pass none none none permerror"),
        (b"", {}, "pass none none none permerror"),
    ],
)
async def test_results_of_a_mail(octets, options, expected):
    """Each check has its result, and DMARC judges by the others."""
    results = await check(facts_of(octets, **options), ZoneResolver(ZONE), seconds=5)
    assert words(results) == expected


async def test_identifier_below_the_organisation_is_walked_to():
    """A signature by a subdomain speaks for its organisation, once its own way up was walked."""
    zone = ZONE | {"s1._domainkey.mail.bank.example": {"TXT": [record(ed25519_key()).decode()]}}
    octets = sign(MAIL, ed25519_key(), d="mail.bank.example")
    results = await check(facts_of(octets, peer="192.0.2.9"), ZoneResolver(zone), seconds=5)
    assert results.dmarc.result is Result.PASS
    assert build_identity_attributes(results)["relay_identity"] == (
        "verified: mail.bank.example, which belongs with bank.example, signed this"
    )


async def test_policy_for_names_that_do_not_exist():
    """The policy np is asked for an author whose domain is not in DNS."""
    zone = ZONE | {"_dmarc.bank.example": {"TXT": ["v=DMARC1; p=none; np=reject"]}}
    octets = MAIL.replace(b"service@bank", b"service@x.bank")
    results = await check(facts_of(octets, peer="192.0.2.9"), ZoneResolver(zone), seconds=5)
    assert results.dmarc.policy == "reject"
    zone["x.bank.example"] = {"A": ["192.0.2.7"]}
    results = await check(facts_of(octets, peer="192.0.2.9"), ZoneResolver(zone), seconds=5)
    assert results.dmarc.policy == "none"


async def test_trusted_sealer_is_heard():
    """A list that is trusted, and saw DMARC pass, lifts the failure of what it changed."""
    octets = seal(MAIL, rsa_key(), results=b"mx.list.example; dmarc=pass header.from=bank.example")
    facts = facts_of(octets, peer="192.0.2.9")
    results = await check(facts, ZoneResolver(ZONE), seconds=5, trusted_sealers=["list.example"])
    assert (results.dmarc.result, results.dmarc.policy, results.dmarc.lifted_by) == (
        "fail",
        "none",
        "list.example",
    )
    results = await check(facts, ZoneResolver(ZONE), seconds=5)
    assert (results.dmarc.policy, results.dmarc.lifted_by) == ("reject", "")


async def test_long_header_hides_no_author():
    """A header too long for its signatures has an author all the same, wherever in it."""
    octets = b"X: " + b"x" * HEADER_BYTES + b"\r\n" + sign(MAIL, rsa_key())
    results = await check(facts_of(octets, peer="192.0.2.9"), ZoneResolver(ZONE), seconds=5)
    assert words(results) == "fail none neutral none fail"
    octets = b"\xef\xbb\xbf" + MAIL[MAIL.index(b"From") :]
    results = await check(facts_of(octets, peer="192.0.2.9"), ZoneResolver(ZONE), seconds=5)
    assert results.dmarc.result is Result.FAIL


# --- DNS that does not answer


async def test_silence_costs_the_deadline_and_no_more():
    """DNS that never answers makes each check temperror, at the deadline, with its names still told."""
    octets = sign(seal(MAIL, rsa_key()), rsa_key())
    begun = time.monotonic()
    results = await check(facts_of(octets), Silence(), seconds=0.3)
    assert 0.25 < time.monotonic() - begun < 3.0  # the machine may be busy
    assert words(results) == "temperror temperror temperror temperror temperror"
    (signature,) = results.dkim
    assert (signature.domain, signature.selector) == ("bank.example", "s1")
    assert results.dmarc.reason == "DNS did not answer for the policy of the author's domain"


async def test_what_is_ready_counts():
    """A check that DNS kept back is temperror alone: the others have their results."""
    resolver = Silence(but=("s1._domainkey.bank.example",))
    results = await check(facts_of(sign(MAIL, rsa_key())), resolver, seconds=0.3)
    assert words(results) == "temperror temperror pass none temperror"


async def test_all_questions_are_asked_at_once():
    """Policies, keys and SPF are asked for before any answer is there."""
    resolver = Silence()
    await check(facts_of(sign(seal(MAIL, rsa_key()), rsa_key())), resolver, seconds=0.2)
    assert {
        "_dmarc.bank.example",
        "_dmarc.example",
        "s1._domainkey.bank.example",
        "s1._domainkey.list.example",
        "bank.example",
        "mail.bank.example",
    } <= set(resolver.asked)


async def test_nothing_is_left_behind():
    """After the deadline, and after a cancellation, no task of a check is left."""
    await check(facts_of(sign(MAIL, rsa_key())), Silence(), seconds=0.1)
    task = asyncio.create_task(check(facts_of(MAIL), Silence(), seconds=60))
    resolver_waits = asyncio.Event()
    asyncio.get_running_loop().call_later(0.1, resolver_waits.set)
    await resolver_waits.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [each for each in asyncio.all_tasks() if each is not asyncio.current_task()] == []


class Broken:
    """A resolver with a fault of ours."""

    async def query(self, name, kind):
        raise RuntimeError(name)


async def test_fault_of_ours_is_a_temporary_error():
    """An exception that nobody expects is told, and the checks that met it are temperror."""
    out = io.StringIO()
    with contextlib.redirect_stderr(out):
        telemetry.configure("json", "debug")
        results = await check(facts_of(sign(seal(MAIL, rsa_key()), rsa_key())), Broken(), seconds=5)
    telemetry.configure("json", "info")
    logging.getLogger().handlers.clear()
    assert words(results) == "temperror temperror temperror temperror temperror"
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert {line["event"] for line in lines} == {"fault.caught"}
    assert {line["where"] for line in lines} == {
        f"auth.{check}" for check in ("arc", "dkim", "dmarc", "spf", "iprev")
    }


# --- The loop


def heavy(number):
    """A key record of under 512 octets that takes the most to try, and no two alike."""
    modulus = (1 << 2_400) - 1 - 2 * number
    return b"p=" + base64.b64encode(der(0x30, modulus, (1 << 64) - 1))


@pytest.mark.parametrize(
    "octets",
    [
        b"a:\r\n" * 290 + MAIL,
        b"a:\r\n" * 2_000 + MAIL,
        b"From: " + b"a@b," * 120 + b"\r\n\r\n",
        b"From:\r\n" * 70 + b"\r\n",
        make_field(MAIL, rsa_key(2_048), s="a") + make_field(MAIL, rsa_key(2_048), s="b") + MAIL,
        b"DKIM-Signature: " + b"a=;" * 2_600 + b"\r\n\r\n",
        seal(MAIL, rsa_key()) + b"x" * 60_000,
    ],
    ids=["fields", "many fields", "authors", "empty authors", "heavy keys", "tags", "seal"],
)
async def test_small_header_holds_the_loop_for_milliseconds(octets):
    """A header that is read at once takes the thread of the loop under 5 ms, whatever it is made of."""
    zone = ZONE | {f"{s}._domainkey.bank.example": {"TXT": [heavy(at).decode()]} for at, s in enumerate("ab")}
    facts, resolver = facts_of(octets), ZoneResolver(zone)
    loop = asyncio.get_running_loop()
    longest = []

    def watch():
        """Note the processor time of the loop's thread between two turns."""
        now = time.thread_time()
        longest.append(now - watch.begun)
        watch.begun = now
        watch.handle = loop.call_later(0.001, watch)

    least = 1.0
    for _ in range(4):
        longest.clear()
        watch.begun = time.thread_time()
        watch()
        await check(facts, resolver, seconds=30)
        watch.handle.cancel()
        least = min(least, max(longest))
    assert least < 0.005


# --- Anything


@settings(max_examples=examples(40))
@given(
    octets=st.one_of(
        st.binary(max_size=200), st.binary(max_size=30).map(lambda each: sign(MAIL, rsa_key()) + each)
    ),
    cut=st.integers(0, 700),
    reverse_path=st.one_of(st.none(), st.text(max_size=30)),
    text=st.binary(max_size=80).map(lambda each: base64.b64encode(each).decode()),
)
def test_any_mail_has_results_that_can_be_shown(octets, cut, reverse_path, text):
    """No mail, envelope or answer of DNS raises, and every attribute is one printable line."""
    zone = {name: {"TXT": [text, *types["TXT"]]} for name, types in ZONE.items()}
    facts = facts_of(octets[cut:] + octets[:cut], reverse_path=reverse_path)
    results = asyncio.run(check(facts, ZoneResolver(zone), seconds=5))
    assert all(
        value.isascii() and value.isprintable() for value in build_identity_attributes(results).values()
    )

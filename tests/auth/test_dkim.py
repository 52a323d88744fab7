"""DKIM: what makes a signature good, what does not, and that no octets of a peer do harm."""

from __future__ import annotations

import base64
import time

import dkim
import pytest
from auth.signing import (
    AT,
    MAIL,
    NAME,
    der,
    ed25519_key,
    found,
    make_field,
    public_octets,
    record,
    rsa_key,
    sign,
)
from examples import examples
from hostile.growth import grows_too_fast
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.auth.answers import NODATA, NXDOMAIN, build_temperror
from relay.auth.dkim import CPU_SECONDS, DkimResult, find_signatures, verify_signatures
from relay.auth.fields import HEADER_BYTES, Fields
from relay.auth.keys import parse_key
from relay.auth.signed import MOST_SIGNATURES, SignedMailReader, read_signed_mail
from relay.auth.words import Result

FORMS = [f"{header}/{body}" for header in ("simple", "relaxed") for body in ("simple", "relaxed")]


def verify(octets, keys=None, *, at=AT, spent=0.0, key=None):
    """The verdicts on the signatures of a mail; by default its key is the first RSA key."""
    mail = read_signed_mail([octets])
    answers = {NAME: found(record(key or rsa_key()))} if keys is None else keys
    return verify_signatures(mail, Fields(mail.header), answers, at=at, spent=lambda: spent)


def verify_one(octets, keys=None, **options):
    """The word and the reason for a mail with one signature."""
    (result,) = verify(octets, keys, **options)
    return result.result.value, result.reason


# --- What is good


@pytest.mark.parametrize("form", [*FORMS, "simple", "relaxed", None])
@pytest.mark.parametrize("key", [rsa_key(), ed25519_key()], ids=["rsa", "ed25519"])
def test_signature_is_good(form, key):
    """A mail that nobody touched passes in each canonical form, by each algorithm."""
    (result,) = verify(sign(MAIL, key, c=form), key=key)
    assert result == DkimResult(
        result=Result.PASS,
        reason="the signature is good",
        domain="bank.example",
        selector="s1",
        identity="@bank.example",
        algorithm="rsa-sha256" if key == rsa_key() else "ed25519-sha256",
    )


@pytest.mark.parametrize("form", [(b"simple", b"simple"), (b"relaxed", b"relaxed")])
def test_signature_by_dkimpy_itself_is_good(form):
    """What dkimpy signs with all its habits (folded h=, From twice, q=, t=, i=) passes here."""
    field = dkim.DKIM(MAIL).sign(b"s1", b"bank.example", rsa_key(), canonicalize=form)
    assert verify_one(field + MAIL, at=time.time()) == ("pass", "the signature is good")


@pytest.mark.parametrize(
    "body", [b"", b"\r\n", b"no end", b" \r\n\t\r\n", b"x \t y\r\n\r\n \r\n", b"\x00\xff\r\r\n"]
)
@pytest.mark.parametrize("form", FORMS)
def test_signature_over_an_odd_body_is_good(form, body):
    """Bodies with odd ends, with blanks alone, or without anything pass as they were signed."""
    mail = MAIL[: MAIL.index(b"\r\n\r\n") + 4] + body
    assert verify_one(sign(mail, rsa_key(), c=form))[0] == "pass"


@pytest.mark.parametrize(
    "changed",
    [
        {"d": "Bank.EXAMPLE", "s": "S1"},
        {"i": "bill@mail.bank.example"},
        {"i": "bill@mail=2Ebank.example"},
        {"q": "dns/txt"},
        {"h": "From : to:\r\n\tsubject : from : x-none"},
        {"z": "From:x=20b=3D;", "x1": "b=not the signature"},
        {"t": str(AT + 3_600), "x": str(AT + 7_200)},
    ],
)
def test_signature_with_odd_tags_is_good(changed):
    """Case of names, folds, an identity below the domain, unknown tags and a clock that is ahead do
    no harm.
    """
    changed = {name: value.rstrip(";") for name, value in changed.items()}
    assert verify_one(sign(MAIL, rsa_key(), **changed)) == ("pass", "the signature is good")


def test_domain_in_utf8_is_good():
    """A domain in UTF-8 has its key where its A-labels say (RFC 8616)."""
    keys = {"s1._domainkey.xn--mnchen-3ya.example": found(record(rsa_key()))}
    (result,) = verify(sign(MAIL, rsa_key(), d="münchen.example"), keys)
    assert (result.result, result.domain) == (Result.PASS, "xn--mnchen-3ya.example")


@pytest.mark.parametrize("size", [1, 7, 1_460])
def test_signature_is_good_wherever_the_mail_is_cut(size):
    """The verdict is the same when the mail arrives in pieces of any size."""
    octets = sign(MAIL, rsa_key(), l="9")
    reader = SignedMailReader()
    for at in range(0, len(octets), size):
        reader.update(octets[at : at + size])
    assert reader.finish() == read_signed_mail([octets])


# --- What was changed on the way


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        (b"a question", b"an answer", "body"),
        (b"service@bank", b"thief@bank", "header"),
        (b"\r\nFrom:", b"\r\nFrom: thief@evil.example\r\nFrom:", "header"),
        (b"\r\nTo:", b"\r\nFrom: thief@evil.example\r\nTo:", "header"),
        (b"\r\nTo:", b"\r\nX-To:", "header"),
        (b"d=bank.example", b"d=bank.example; x=9999999999", "header"),
    ],
)
def test_changed_mail_fails(old, new, word):
    """A change of body, of a signed field or of the signature's own tags fails, and so does a second
    author.
    """
    result, reason = verify_one(sign(MAIL, rsa_key()).replace(old, new, 1))
    assert result == "fail"
    assert word in reason


def test_change_that_the_form_allows_is_good():
    """Relaxed signatures bear what mail servers do to white space; simple ones do not."""
    for form, word in (("relaxed/relaxed", "pass"), ("simple/simple", "fail")):
        octets = sign(MAIL, rsa_key(), c=form)
        assert verify_one(octets.replace(b"Dear  agents, ", b"Dear agents,"))[0] == word
        assert verify_one(octets.replace(b"Subject:  A", b"subject: A"))[0] == word


def test_signature_by_another_key_fails():
    """Another key of the same size than the one in DNS made this signature."""
    assert verify_one(sign(MAIL, rsa_key(number=1)))[0] == "fail"
    assert verify_one(sign(MAIL, ed25519_key(1)), key=ed25519_key())[0] == "fail"


# --- l=


def test_length_is_told():
    """A signature over the beginning of the body passes, and says how much anybody may have added."""
    octets = sign(MAIL, rsa_key(), l="16") + b"buy now\r\n"
    (result,) = verify(octets)
    assert result.result is Result.PASS
    assert result.unsigned_bytes == 27
    assert result.reason == "the signature is good, for the first 16 of 43 octets of the body (l=)"


def test_length_of_the_whole_body_leaves_nothing_unsigned():
    """With l= as long as the body there is nothing to tell."""
    (result,) = verify(sign(MAIL, rsa_key(), l="30"))
    assert (result.result, result.unsigned_bytes) == (Result.PASS, 0)


def test_length_over_the_body_is_a_permanent_error():
    """The body is shorter than what l= says was signed (RFC 6376 §3.5)."""
    assert verify_one(sign(MAIL, rsa_key(), l="34")) == (
        "permerror",
        "the body is shorter than what was signed (l=)",
    )


def test_no_length_takes_memory_or_time():
    """A length of 76 digits is compared, not counted to."""
    assert verify_one(sign(MAIL, rsa_key(), l="9" * 76))[0] == "permerror"


# --- Time


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"t": AT + 36_001}, "policy"),
        ({"t": AT + 36_000}, "pass"),
        ({"x": AT}, "pass"),
        ({"x": AT - 1}, "policy"),
        ({"t": AT - 10, "x": AT - 10}, "permerror"),
        ({"t": "soon"}, "neutral"),
        ({"x": "-1"}, "neutral"),
        ({"t": "1" * 400}, "neutral"),
    ],
)
def test_instants_are_judged_by_the_reception(changed, word):
    """t= and x= count against the instant at which the mail came in, whatever the clock says now."""
    assert verify_one(sign(MAIL, rsa_key(), **changed))[0] == word


# --- Signatures that are not accepted


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"v": "2"}, "neutral"),
        ({"v": None}, "permerror"),
        ({"bh": None}, "permerror"),
        ({"d": None}, "permerror"),
        ({"s": None}, "permerror"),
        ({"h": "to:subject"}, "permerror"),
        ({"a": "rsa-sha1"}, "policy"),
        ({"c": "nofws"}, "neutral"),
        ({"c": "relaxed/nofws"}, "neutral"),
        ({"q": "http"}, "neutral"),
        ({"i": "bill@evil.example"}, "permerror"),
        ({"i": "bill@notbank.example"}, "permerror"),
        ({"i": "bank.example"}, "permerror"),
        ({"d": "bank..example"}, "permerror"),
        ({"s": "a b"}, "permerror"),
        ({"l": "-1"}, "neutral"),
        ({"bh": "&&&="}, "neutral"),
        ({"x y": "1"}, "neutral"),
    ],
)
def test_unfit_signature(changed, word):
    """A signature that breaks the form is no pass, and says in words which rule it broke."""
    forms = {"c": "relaxed/relaxed"} | changed
    octets = sign(MAIL, rsa_key())
    if forms["c"] == "relaxed/relaxed" and changed.get("h", "from") is not None:
        octets = sign(MAIL, rsa_key(), **changed)
    else:
        octets = octets.replace(b"c=relaxed/relaxed", b"c=" + forms["c"].encode())
    result, reason = verify_one(octets)
    assert result == word
    assert reason


def test_unknown_algorithm_is_neutral():
    """A signature by an algorithm of the future says nothing."""
    octets = sign(MAIL, rsa_key()).replace(b"a=rsa-sha256", b"a=rsa-sha512")
    assert verify_one(octets) == ("neutral", "the algorithm of the signature is unknown")


def test_mail_without_a_signature_has_no_verdict():
    """An unsigned mail, one of a header alone and one of nothing have no verdicts."""
    assert verify(MAIL) == verify(b"From: a@b.example\r\n") == verify(b"") == verify(b"\r\nbody") == ()


def test_eight_signatures_are_looked_at():
    """The first eight signatures are verified, and the others counted."""
    octets = make_field(MAIL, rsa_key()) * (MOST_SIGNATURES + 3) + MAIL
    results = verify(octets)
    assert [result.result.value for result in results] == ["pass"] * MOST_SIGNATURES + ["neutral"]
    assert results[-1].reason == "3 more signatures were not looked at: 8 are the most"


def test_time_is_used_up():
    """Past two seconds of processor time a signature is neutral, and the reason says so."""
    octets = sign(MAIL, rsa_key())
    assert verify_one(octets, spent=CPU_SECONDS)[0] == "pass"
    reason = "not verified: 2 seconds of processor time were used up"
    assert verify_one(octets, spent=CPU_SECONDS + 0.01) == ("neutral", reason)


def test_header_that_is_too_long_is_neutral():
    """A header over 262,144 octets is not looked at, and the mail is not taken for unsigned."""
    octets = sign(MAIL, rsa_key()).replace(b"\r\nTo:", b"\r\nX: " + b"x" * HEADER_BYTES + b"\r\nTo:")
    assert verify_one(octets) == ("neutral", "a header over 262,144 octets is not looked at")


# --- Keys


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (NXDOMAIN, "permerror"),
        (NODATA, "permerror"),
        (build_temperror("no server answered in time"), "temperror"),
        (None, "temperror"),
        (found(b""), "permerror"),
        (found(b"v=spf1 -all"), "permerror"),
        (found(b"p=" + public_octets(rsa_key())), "pass"),
        (found(record(rsa_key())[:-30]), "permerror"),
        (found(b"v=DKIM1; p="), "permerror"),
        (found(b"v=DKIM2; p=" + public_octets(rsa_key())), "permerror"),
        (found(b"p=" + public_octets(rsa_key()) + b"; v=DKIM1"), "permerror"),
        (found(record(rsa_key(), g="*", n="a note", h="sha1:sha256", s="chat:email", t="n")), "pass"),
        (found(record(rsa_key(), h="sha1")), "permerror"),
        (found(record(rsa_key(), s="tlsrpt")), "permerror"),
        (found(record(rsa_key(768))), "policy"),
        (found(record(ed25519_key())), "permerror"),
        (found(b"k=ecdsa; p=" + public_octets(rsa_key())), "permerror"),
        (found(b"k=ed25519; p=" + public_octets(rsa_key())), "permerror"),
        (found(record(rsa_key(number=1)), b"junk", record(rsa_key())), "pass"),
        (found(record(rsa_key(number=1)), b"junk"), "permerror"),
        (found(b"1", b"2", b"3", b"4", record(rsa_key())), "permerror"),
        (found(record(rsa_key(), n="a" * 7_000)), "pass"),
        (found(record(rsa_key(), n="a" * 8_192)), "permerror"),
    ],
    ids=range(23),
)
def test_key_record(answer, word):
    """Only a key that its owner allows for this makes a pass; DNS that fails is temporary, a missing key is
    not.
    """
    result, reason = verify_one(sign(MAIL, rsa_key()), {} if answer is None else {NAME: answer})
    assert result == word
    assert reason


def test_small_key_is_policy_even_if_the_signature_is_good():
    """A key under 1,024 bits proves nothing (RFC 8301)."""
    octets = sign(MAIL, rsa_key(768))
    assert verify_one(octets, key=rsa_key(768)) == ("policy", "the key has 768 bits, fewer than 1,024")


def test_key_for_no_subdomain():
    """With t=s the domain of i= is that of d= itself."""
    keys = {NAME: found(record(rsa_key(), t="s"))}
    assert verify_one(sign(MAIL, rsa_key(), i="a@bank.example"), keys)[0] == "pass"
    assert verify_one(sign(MAIL, rsa_key(), i="a@mail.bank.example"), keys)[0] == "permerror"


def test_signer_that_is_testing():
    """With t=y a bad signature is neutral, as if there were none; a good one says that it is a test."""
    keys = {NAME: found(record(rsa_key(), t="y:s"))}
    octets = sign(MAIL, rsa_key())
    (good,) = verify(octets, keys)
    assert (good.result, good.testing) == (Result.PASS, True)
    assert verify_one(octets + b"more\r\n", keys)[0] == "neutral"


def key_of(*numbers):
    """A bare RSA public key of these numbers, in base64."""
    return base64.b64encode(der(0x30, *numbers))


@pytest.mark.parametrize(
    "octets",
    [
        key_of((1 << 2_048) - 1, (1 << 2_040) + 1),
        key_of((1 << 2_048) - 1, 1),
        key_of((1 << 2_048) - 1, 0),
        key_of(1 << 2_048, 3),
        key_of((1 << 9_000) - 1, 3),
        key_of((1 << 200_000) - 1, 65_537),
        base64.b64encode(b"\x30\xff" + b"\xff" * 127),
        base64.b64encode(b"\x30\x82\xff\xff\x02\x84\xff\xff\xff\xff\x01"),
        base64.b64encode(b"\x30\x0d\x30\x04\x06\x00\x05\x01\x00\x03\x03\x00\x30\x00"),
        b"A",
        b"=",
        b"\xff",
    ],
    ids=range(12),
)
def test_hostile_key_costs_nothing(octets):
    """A key with a huge exponent or modulus, or of broken DER, is refused within milliseconds."""
    keys = {NAME: found(b"v=DKIM1; k=rsa; p=" + octets)}
    begun = time.process_time()
    result, reason = verify_one(sign(MAIL, rsa_key()), keys)
    assert result in {"permerror", "policy"}
    assert reason
    assert time.process_time() - begun < 0.5


def test_largest_key_costs_little():
    """A verification by a key of 8,192 bits with a long exponent takes under 50 ms."""
    octets = sign(MAIL, rsa_key())
    keys = {NAME: found(b"p=" + key_of((1 << 8_191) + 12_345_679, (1 << 31) + 1))}
    assert verify_one(octets, keys)[0] == "fail"
    begun = time.process_time()
    verify_one(octets, keys)
    assert time.process_time() - begun < 0.05


# --- Anything

PIECES = st.sampled_from([
    b"DKIM-Signature:", b"dkim-signature :", b"\r\n", b"\r\n ", b";", b"=", b" b=", b"b=", b"bh=", b"v=1;", b"a=rsa-sha256;",
    b"a=ed25519-sha256;", b"c=relaxed/simple;", b"d=bank.example;", b"s=s1;", b"h=from;", b"h=from:from:;", b"l=", b"9" * 80,
    b"t=", b"x=", b"i=@", b"\xc3\xbc", b"\xff", b"\x00", b"AAAA", b"From: a@b.example", b":", b"\r\n\r\n", b"q=", b"\t", b'"', b"%",
])  # fmt: skip
KEY_PIECES = st.sampled_from([
    b"v=DKIM1;", b"p=", public_octets(rsa_key()), public_octets(ed25519_key()), b";", b"k=rsa;", b"k=ed25519;", b"h=sha256;", b"t=y:s;",
    b"s=*;", b"\xff", b"=", b"MII", b" ", b"\r\n", b"A" * 100,
])  # fmt: skip


def is_clean(result):
    """Returns whether a verdict has no word of the peer in its reason."""
    return result.reason.isascii() and result.reason.isprintable() and '"' not in result.reason


@settings(max_examples=examples(80))
@given(
    octets=st.one_of(
        st.binary(max_size=200),
        st.lists(PIECES, max_size=40).map(b"".join),
        st.lists(PIECES, max_size=30).map(lambda pieces: b"DKIM-Signature: v=1; " + b"".join(pieces)),
    ),
    texts=st.lists(st.one_of(st.binary(max_size=60), st.lists(KEY_PIECES).map(b"".join)), max_size=5),
)
def test_any_octets_have_a_verdict(octets, texts):
    """No octets of a mail or a key record raise, and none of them gets into a reason."""
    keys = {NAME: found(*texts)} if texts else {}
    results = verify(octets, keys)
    assert all(is_clean(result) for result in results)
    assert all(result.result is not Result.PASS for result in results)


@settings(max_examples=examples(50))
@given(data=st.data())
def test_any_change_of_a_good_mail_has_a_verdict(data):
    """A good mail in which any stretch of octets was changed has a verdict, and a reason without those
    octets.
    """
    octets = sign(MAIL, rsa_key())
    at = data.draw(st.integers(0, len(octets)))
    end = data.draw(st.integers(at, min(at + 8, len(octets))))
    changed = octets[:at] + data.draw(st.one_of(st.binary(max_size=8), PIECES)) + octets[end:]
    assert all(is_clean(result) for result in verify(changed))


@settings(max_examples=examples(60))
@given(st.one_of(st.binary(max_size=300), st.lists(KEY_PIECES, max_size=12).map(b"".join)))
def test_any_key_record_is_read_or_refused(octets):
    """No TXT record raises."""
    assert parse_key(octets) == parse_key(octets)


HOSTILE = {
    "blanks": lambda size: sign(MAIL, rsa_key()).replace(b"b=", b"b=" + b"\r\n " * (size // 3), 1),
    "blanks in h=": lambda size: sign(MAIL, rsa_key()).replace(b"h=", b"h=" + b" \t" * (size // 2), 1),
    "names": lambda size: sign(MAIL, rsa_key()).replace(b"h=", b"h=" + b"x:" * (size // 2), 1),
    "other names": lambda size: sign(MAIL, rsa_key()).replace(
        b"h=", b"h=" + b":".join(b"%x" % at for at in range(size // 6)) + b":", 1
    ),
    "tags": lambda size: sign(MAIL, rsa_key()).replace(
        b"h=", b";".join(b"t%x=" % at for at in range(size // 9)) + b";h=", 1
    ),
    "fields": lambda size: sign(MAIL + b"", rsa_key()).replace(
        b"\r\nTo:", b"\r\nX:" * (size // 4) + b"\r\nTo:", 1
    ),
    "authors": lambda size: make_field(MAIL, rsa_key()) * 8 + b"From:\r\n" * (size // 7) + MAIL,
    "signatures": lambda size: b"DKIM-Signature: v=1\r\n" * (size // 21) + MAIL,
    "b of blanks": lambda size: sign(MAIL, rsa_key()).replace(
        b"v=1;", b"v=1; b" + b" \r\n " * (size // 4), 1
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_time_grows_as_the_header_does(name):
    """Twice the header takes less than three times as long, and no header under the limit a second."""
    make = HOSTILE[name]
    assert grows_too_fast(verify, make, HEADER_BYTES // 16) == ""
    octets = make(HEADER_BYTES * 9 // 10)
    begun = time.process_time()
    assert verify(octets)
    assert time.process_time() - begun < 1.0


def test_signatures_are_found_from_the_top():
    """Signatures are numbered as they stand in the header."""
    octets = sign(sign(MAIL, rsa_key(), d="a.example"), rsa_key(), d="b.example")
    signatures = find_signatures(Fields(octets[: octets.index(b"\r\n\r\n")]))
    assert [signature.domain for signature in signatures] == ["b.example", "a.example"]

"""ARC: chains of seals that are whole, that are broken, and that somebody made to do harm."""

from __future__ import annotations

import time

import dkim
import pytest
from auth.signing import AT, MAIL, ed25519_key, found, record, rsa_key, seal
from examples import examples
from hostile.growth import grows_too_fast
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.auth.answers import NXDOMAIN, build_temperror
from relay.auth.arc import ArcResult, find_chain, find_key_names, verify_chain
from relay.auth.fields import HEADER_BYTES, Fields
from relay.auth.signed import read_signed_mail
from relay.auth.words import Finding, Result

LIST = "s1._domainkey.list.example"
KEYS = {LIST: found(record(rsa_key()))}


def verify(octets, keys=None, *, at=AT, spent=0.0):
    """The verdict on the chain of a mail; by default its key is the first RSA key."""
    mail = read_signed_mail([octets])
    return verify_chain(mail, Fields(mail.header), keys or KEYS, at=at, spent=lambda: spent)


def chain_of(length, mail=MAIL, private=None):
    """A mail that so many forwarders sealed."""
    for instance in range(1, length + 1):
        mail = seal(mail, private or rsa_key(), instance)
    return mail


@pytest.mark.parametrize("length", [1, 2, 5])
def test_chain_is_good(length):
    """A chain passes when the last message signature and each seal are good, and tells each set."""
    result = verify(chain_of(length))
    assert (result.result, result.reason) == (
        Result.PASS,
        "each forwarder sealed the mail as it passed it on",
    )
    assert [(one.instance, one.domain, one.seal.result, one.message.result) for one in result.sets] == [
        (instance, "list.example", Result.PASS, Result.PASS) for instance in range(1, length + 1)
    ]
    assert result.sets[0].results == b"i=1; mx.list.example; dmarc=pass"


def test_chain_by_dkimpy_itself_is_good():
    """What dkimpy seals with all its habits passes here."""
    mail = b"Authentication-Results: mx.list.example; arc=none; dmarc=pass\r\n" + MAIL
    sealed = b"".join(dkim.ARC(mail).sign(b"s1", b"list.example", rsa_key(), b"mx.list.example")) + mail
    assert verify(sealed, at=time.time()).result is Result.PASS


def test_chain_by_ed25519_is_good():
    """A seal by Ed25519 is a seal (RFC 8463)."""
    keys = {LIST: found(record(ed25519_key()))}
    assert verify(chain_of(2, private=ed25519_key()), keys).result is Result.PASS


def test_mail_without_sets_has_none():
    """An ordinary mail has no chain, and neither has nothing."""
    expected = ArcResult(result=Result.NONE, reason="no forwarder has sealed the mail")
    assert verify(MAIL) == verify(b"") == expected


def test_list_that_changed_the_mail():
    """An older message signature may fail where a later forwarder changed the mail; the chain passes all the
    same.
    """
    mail = seal(seal(MAIL, rsa_key()) + b"-- \r\nthe list\r\n", rsa_key(), 2)
    result = verify(mail)
    assert result.result is Result.PASS
    assert [one.message.result for one in result.sets] == [Result.FAIL, Result.PASS]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"a question", b"an answer", "the last ARC-Message-Signature is not good: the body was changed"),
        (b"service@bank", b"thief@bank", "the last ARC-Message-Signature is not good: a signed header"),
        (b"i=1; mx.list.example; dmarc=pass", b"i=1; mx.list.example; dmarc=fail", "a seal is not good"),
        (b"i=2; mx.list.example", b"i=2; mx.evil.example", "a seal is not good"),
        (b"ARC-Seal", b"X-Seal", "a set of ARC fields is not complete"),
        (b"ARC-Message-Signature", b"X-Signature", "a set of ARC fields is not complete"),
        (b"ARC-Authentication-Results", b"X-Results", "a set of ARC fields is not complete"),
        (b"ARC-Authentication-Results: i=2", b"ARC-Authentication-Results: i=3", "numbered"),
        (b"ARC-Authentication-Results: i=2;", b"ARC-Authentication-Results: mx; i=2;", "numbered"),
        (b"ARC-Authentication-Results: i=2;", b"ARC-Authentication-Results: i=2 ", "numbered"),
        (b"; i=2; cv=pass", b"; i=1; cv=pass", "numbered"),
        (b"cv=pass", b"cv=fail", "the last forwarder found the chain broken"),
        (b"cv=pass", b"cv=none", "what it must (cv=)"),
        (b"cv=none", b"cv=pass", "what it must (cv=)"),
        (b"cv=none", b"cv=", "unfit: the signature has no cv="),
        (b"cv=none", b"cv=none; h=from", "unfit: a seal has no h="),
        (b"a=rsa-sha256", b"a=rsa-sha1", "rsa-sha1 proves nothing any more"),
        (b"a=rsa-sha256", b"a=rsa", "unfit: the algorithm"),
        (b"h=from:to", b"h=arc-seal:from:to", "covers a seal"),
    ],
)
def test_broken_chain_fails(old, new, reason):
    """A change of the mail, of a set or of its order breaks the chain, and the reason says where."""
    octets = chain_of(2)
    assert old in octets
    result = verify(octets.replace(old, new, 1))
    assert result.result is Result.FAIL
    assert reason in result.reason


def test_set_that_is_doubled_fails():
    """A set that stands twice is no chain."""
    octets = chain_of(1)
    assert (
        verify(octets[: octets.index(b"Received")] + octets).reason
        == "the ARC sets are not numbered from 1 on"
    )


def test_set_taken_out_fails():
    """A chain without its first set is none."""
    octets = chain_of(2)
    first = octets.rindex(b"ARC-Seal")
    assert verify(octets[:first] + MAIL).result is Result.FAIL


def test_fifty_sets_are_the_most():
    """Fifty sets are judged, and fifty-one fail without a look (RFC 8617 §4.2.1)."""
    octets = chain_of(1)
    sets = octets[: octets.index(b"Received")]
    result = verify(sets * 51 + MAIL)
    assert (result.result, result.reason) == (Result.FAIL, "there are more than 50 ARC sets")


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (NXDOMAIN, "fail"),
        (build_temperror("the server failed"), "temperror"),
        (found(record(rsa_key(768))), "fail"),
        (found(b"p="), "fail"),
        (found(b"junk", record(rsa_key())), "pass"),
    ],
)
def test_key(answer, word):
    """A chain whose key is missing or too small fails; DNS that does not answer is temporary."""
    assert verify(chain_of(1), {LIST: answer}).result.value == word
    assert verify(chain_of(1), {"other": NXDOMAIN}).result is Result.TEMPERROR


def test_broken_chain_fails_even_without_dns():
    """A fault that no answer could heal is told though DNS does not answer."""
    octets = chain_of(2).replace(b"a question", b"an answer")
    keys = {LIST: found(record(rsa_key()))}
    assert verify(octets, keys).result is Result.FAIL
    octets = seal(seal(MAIL, rsa_key(), both={"d": "away.example"}), rsa_key(), 2).replace(
        b"a quest", b"a test"
    )
    assert verify(octets, keys).result is Result.FAIL


def test_names_of_keys():
    """Each signature of each set names its key."""
    octets = seal(seal(MAIL, rsa_key()), rsa_key(), 2, seal={"d": "Other.example", "s": "x"})
    chain = find_chain(Fields(octets[: octets.index(b"\r\n\r\n")]))
    assert find_key_names(chain) == {LIST, "x._domainkey.other.example"}


def test_time_is_used_up():
    """Past 0.3 seconds of processor time the chain is not judged, and the reason says so."""
    result = verify(chain_of(1), spent=0.31)
    reason = "not verified: 0.3 seconds of processor time were used up"
    assert (result.result, result.reason) == (Result.TEMPERROR, reason)


def test_header_that_is_too_long():
    """A header over 262,144 octets is not looked at."""
    assert verify(b"X: " + b"x" * HEADER_BYTES + b"\r\n" + chain_of(1)).result is Result.NONE


PIECES = st.sampled_from([
    b"ARC-Seal:", b"ARC-Message-Signature:", b"ARC-Authentication-Results:", b"\r\n", b"\r\n ", b" i=1;", b"i=2;", b"i=99999;",
    b"cv=none;", b"cv=pass;", b"a=rsa-sha256;", b"d=list.example;", b"s=s1;", b"b=AAAA;", b"bh=AAAA;", b"h=from;", b"\xff", b"\x00", b";",
    b"=", b"\r\n\r\n",
])  # fmt: skip
SET = (
    b"ARC-Seal: i=1; cv=none; a=rsa-sha256; d=list.example; s=s1; b=AAAA;%s\r\n"
    b"ARC-Message-Signature: i=1; a=rsa-sha256; d=list.example; s=s1; b=AAAA; bh=AAAA; h=from;%s\r\n"
    b"ARC-Authentication-Results: i=1; mx;%s\r\n"
)


@settings(max_examples=examples(50))
@given(
    st.one_of(
        st.lists(PIECES, max_size=40).map(b"".join),
        st.tuples(*[st.lists(PIECES, max_size=4).map(b"".join)] * 3).map(lambda each: SET % each + MAIL),
    )
)
def test_any_octets_have_a_verdict(octets):
    """No octets of a mail raise, pass, or get into a reason."""
    result = verify(octets)
    findings = [each for one in result.sets for each in (one.seal, one.message)]
    assert result.result in {Result.NONE, Result.FAIL}
    for finding in (result, *findings):
        assert finding.reason.isascii()
        assert finding.reason.isprintable()


def test_findings_are_values():
    """A chain that is none is a finding, not an exception."""
    assert isinstance(find_chain(Fields(b"ARC-Seal: i=1")), Finding)


def numbered(size):
    """Fifty sets with large fields, of which no signature is good."""
    fill = b"x" * max(size // 150 - 100, 1)
    one = SET.replace(b"i=1", b"i=%d").replace(b"%s", b" " + fill)
    sets = [one % (at, at, at) for at in range(1, 51)]
    return b"".join(sets).replace(b"cv=none", b"cv=pass").replace(b"cv=pass", b"cv=none", 1) + MAIL


@pytest.mark.slow
@pytest.mark.parametrize("make", [numbered, lambda size: b"ARC-Seal: i=1;\r\n" * (size // 16) + MAIL])
def test_time_grows_as_the_header_does(make):
    """Twice the header takes less than three times as long, and no header under the limit a second."""
    assert grows_too_fast(verify, make, HEADER_BYTES // 4) == ""
    begun = time.process_time()
    verify(make(HEADER_BYTES * 9 // 10))
    assert time.process_time() - begun < 1.0

"""Signers for the tests: keys made here, and signatures with any tags, canonicalised and signed by dkimpy."""

from __future__ import annotations

import base64
import hashlib
import math
import random
from functools import cache

import dkim
import nacl.signing
from dkim.canonicalization import CanonicalizationPolicy
from dkim.crypto import RSASSA_PKCS1_v1_5_sign, parse_pem_private_key

from relay.auth.answers import Answer, Status

AT = 1_800_000_000  # the instant of reception in these tests
NAME = "s1._domainkey.bank.example"
MAIL = (
    b"Received: from a.example by b.example\r\n"
    b"From: The Bank <service@bank.example>\r\n"
    b"To: support@example.com\r\n"
    b"Subject:  A  question\r\n"
    b"\ton two lines \r\n"
    b"\r\n"
    b"Dear  agents, \r\n"
    b"\r\n"
    b"\ta question.\r\n"
    b"\r\n"
    b"\r\n"
)


def der(tag, *contents):
    """An element of DER: numbers, octets, or other elements within it."""
    octets = b"".join(
        der(2, each.to_bytes(each.bit_length() // 8 + 1, "big")) if isinstance(each, int) else each
        for each in contents
    )
    size = bytes([len(octets)]) if len(octets) < 128 else b"\x84" + len(octets).to_bytes(4, "big")
    return bytes([tag]) + size + octets


#: The product of the small primes. Nine candidates in ten share a factor with it, which costs microseconds
#: to see; to ask `pow` of each one cost every run of pytest seconds.
_SMALL = math.prod(n for n in range(3, 2_000, 2) if all(n % d for d in range(3, math.isqrt(n) + 1, 2)))


@cache
def rsa_numbers(bits, number):
    """The primes of an RSA key: the same in every run, and of any size (libraries make none under 1,024
    bits).
    """
    chance = random.Random(f"{bits} {number}")
    primes = []
    while len(primes) < 2:
        prime = chance.getrandbits(bits // 2) | (3 << (bits // 2 - 2)) | 1
        if math.gcd(prime, _SMALL) > 1:
            continue
        if prime % 65_537 != 1 and pow(2, prime - 1, prime) == 1 and pow(3, prime - 1, prime) == 1:
            primes.append(prime)
    return primes


@cache
def rsa_key(bits=1_024, number=0):
    """A private RSA key in PEM; the number tells keys of one size apart."""
    p, q = rsa_numbers(bits, number)
    d = pow(65_537, -1, (p - 1) * (q - 1))
    octets = der(0x30, 0, p * q, 65_537, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p))
    return (
        b"-----BEGIN RSA PRIVATE KEY-----\n" + base64.encodebytes(octets) + b"-----END RSA PRIVATE KEY-----\n"
    )


@cache
def ed25519_key(number=0):
    """A private Ed25519 key in base64, as dkimpy takes it."""
    return base64.b64encode(hashlib.sha256(b"a key for tests %d" % number).digest())


def public_octets(private):
    """The public key as DNS has it in p=."""
    if not private.startswith(b"-----"):
        return base64.b64encode(bytes(nacl.signing.SigningKey(base64.b64decode(private)).verify_key))
    modulus = parse_pem_private_key(private)["modulus"]
    algorithm = der(0x30, b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00")
    return base64.b64encode(der(0x30, algorithm, der(3, b"\x00", der(0x30, modulus, 65_537))))


def record(private, **tags):
    """A key record, with further tags before p=."""
    kind = b"rsa" if private.startswith(b"-----") else b"ed25519"
    written = b"".join(b"%s=%s; " % (name.encode(), value.encode()) for name, value in tags.items())
    return b"v=DKIM1; k=" + kind + b"; " + written + b"p=" + public_octets(private)


def found(*records):
    """The answer of DNS that has these TXT records."""
    return Answer(status=Status.FOUND, texts=records)


def make_field(mail, private, *, name=b"DKIM-Signature", headers=None, body=True, **changed):
    """A signature field for a mail; `changed` are its tags, None to leave one out.

    `headers` are the fields that a seal covers instead of h=.
    """
    ed25519 = not private.startswith(b"-----")
    tags = {
        "v": "1",
        "a": "ed25519-sha256" if ed25519 else "rsa-sha256",
        "c": "relaxed/relaxed",
        "d": "bank.example",
        "s": "s1",
        "h": "from:to:subject",
    } | changed
    if headers is not None:
        tags["c"] = tags["h"] = None
    signer = dkim.DKIM(mail)
    policy = CanonicalizationPolicy.from_c_value(
        (tags["c"] or ("simple" if headers is None else "relaxed")).encode()
    )
    hashing = hashlib.sha1 if tags["a"] == "rsa-sha1" else hashlib.sha256
    if body:
        octets = policy.canonicalize_body(signer.body)
        if tags.get("l") is not None:
            octets = octets[: int(tags["l"])]
        tags.setdefault("bh", base64.b64encode(hashing(octets).digest()).decode())
    written = "; ".join(f"{tag}={value}" for tag, value in tags.items() if value is not None)
    value = b" " + written.encode() + b";\r\n b="
    digest = hashing()
    if headers is None:
        names = [each.strip().lower().encode() for each in (tags["h"] or "").split(":")]
        fields = policy.canonicalize_headers(signer.headers)
    else:
        fields = policy.canonicalize_headers(headers)
        names = [each.lower() for each, _ in headers]
        fields = fields[::-1]  # dkimpy chooses from the bottom
    dkim.hash_headers(digest, policy, fields, names, (name, value), None)
    if ed25519:
        octets = nacl.signing.SigningKey(base64.b64decode(private)).sign(digest.digest()).signature
    else:
        octets = RSASSA_PKCS1_v1_5_sign(digest, parse_pem_private_key(private))
    return name + b":" + value + base64.b64encode(bytes(octets)) + b"\r\n"


def sign(mail, private, **changed):
    """A mail with a DKIM signature in front."""
    return make_field(mail, private, **changed) + mail


def split_field(field):
    """The name and the value of a field, as dkimpy takes them."""
    name, _, value = field.partition(b":")
    return name, value


def arc_fields(mail):
    """The ARC fields of a mail that seals made here put in front, oldest set first, each as a seal
    covers it.
    """
    wanted = (b"arc-authentication-results", b"arc-message-signature", b"arc-seal")
    fields = [tuple(field) for field in dkim.DKIM(mail).headers if field[0].lower() in wanted]
    sets = [fields[at : at + 3] for at in range(0, len(fields), 3)]
    return [
        field for one in sets[::-1] for field in sorted(one, key=lambda field: wanted.index(field[0].lower()))
    ]


def seal(mail, private, instance=1, *, chain=None, results=b"mx.list.example; dmarc=pass", **changed):
    """A mail with an ARC set in front; `message` and `seal` change the tags of its two signatures."""
    tags = {"d": "list.example", "v": None} | changed.get("both", {})
    number = b" i=%d; " % instance
    outcome = b"ARC-Authentication-Results:" + number + results + b"\r\n"
    message = make_field(
        mail,
        private,
        name=b"ARC-Message-Signature",
        **{"i": str(instance)} | tags | changed.get("message", {}),
    )
    covered = [*arc_fields(mail), split_field(outcome), split_field(message)]
    seal_tags = {
        "i": str(instance),
        "cv": chain or ("none" if instance == 1 else "pass"),
    }
    sealed = make_field(
        mail,
        private,
        name=b"ARC-Seal",
        headers=covered,
        body=False,
        **seal_tags | tags | changed.get("seal", {}),
    )
    return sealed + message + outcome + mail

"""A mail as its signatures see it: its header, and the digests of its body that they name.

Owns the look for signatures while a mail arrives: `SignedMailReader` is an observer of its octets, and holds
its header and no more. Never verifies. Linear in the octets, whatever the header asks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from relay.auth.body_hash import BodyDigests, BodyHasher, Canonicalisation
from relay.auth.fields import HEADER_BYTES, SHOWN_BYTES, FieldFinder
from relay.auth.signature import BodyTerms, read_body_terms

#: DKIM signatures that are verified (RFC 6376 §6.1 leaves the number to us): each costs a look-up and a key.
MOST_SIGNATURES = 8
#: RFC 8617 §4.2.1: the largest instance of an ARC set.
MOST_SETS = 50

#: Lines of a header that are taken for a signature at first sight; more would take milliseconds.
_LOOKS = 1_000
_MOST = {b"dkim-signature": MOST_SIGNATURES, b"arc-message-signature": MOST_SETS}


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedMail:
    """All that the verification of a mail's signatures needs of it."""

    #: The header up to its empty line, or its first `SHOWN_BYTES`.
    header: bytes
    #: The header has more than `HEADER_BYTES`: its signatures are not looked at.
    too_long: bool = False
    #: The digests of the canonical forms that some signature names.
    digests: Mapping[Canonicalisation, BodyDigests]


class SignedMailReader:
    """The reader of a mail that is still arriving; an observer in the sense of `relay.smtp.content`."""

    __slots__ = ("_hashers", "_head", "_header")

    def __init__(self) -> None:
        """Begin a mail."""
        #: The octets so far, until the header has ended.
        self._head: bytearray | None = bytearray()
        self._header = b""
        self._hashers: Mapping[Canonicalisation, BodyHasher] = {}

    def update(self, octets: bytes, /) -> None:
        """Take the next octets of the mail."""
        if self._head is None:
            for hasher in self._hashers.values():
                hasher.update(octets)
            return
        head = self._head
        seen = len(head)
        head += octets[: SHOWN_BYTES + 4 - seen]
        if head.startswith(b"\r\n"):
            self._begin_body(b"")
            self.update(octets[2 - seen :])
        elif (end := head.find(b"\r\n\r\n", max(seen - 3, 0))) >= 0:
            self._begin_body(bytes(head[:end]))
            self.update(octets[end + 4 - seen :])
        elif len(head) > SHOWN_BYTES:
            self._begin_body(bytes(head[:SHOWN_BYTES]))

    def finish(self) -> SignedMail:
        """The mail, which has ended."""
        if self._head is not None:  # a mail of nothing but a header
            self._begin_body(bytes(self._head))
        return SignedMail(
            header=self._header,
            too_long=len(self._header) > HEADER_BYTES,
            digests={form: hasher.finish() for form, hasher in self._hashers.items()},
        )

    def _begin_body(self, header: bytes) -> None:
        self._head = None
        self._header = header
        if len(header) > HEADER_BYTES:
            return
        wanted: dict[Canonicalisation, list[int]] = {}
        for terms in _find_terms(header):
            lengths = wanted.setdefault(terms.form, [])
            if terms.length is not None:
                lengths.append(terms.length)
        self._hashers = {form: BodyHasher(form, lengths) for form, lengths in wanted.items()}


def _find_terms(header: bytes) -> Iterator[BodyTerms]:
    """The terms of the signatures over the body, without a look at any other field."""
    finder = FieldFinder(header)
    for name, most in _MOST.items():
        for field in islice(finder.find(name, looks=_LOOKS), most):
            terms = read_body_terms(field)
            if terms is not None:
                yield terms


def read_signed_mail(chunks: Iterable[bytes]) -> SignedMail:
    """The mail in stored octets, without our own fields."""
    reader = SignedMailReader()
    for chunk in chunks:
        reader.update(chunk)
    return reader.finish()

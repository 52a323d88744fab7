"""Answers of the DNS as values, and the interface that every check asks for them.

    answer = await resolver.query("example.com", RecordType.TXT)
    match answer.status:
        case Status.FOUND: ...       # answer.texts, answer.addresses or answer.names
        case Status.NODATA: ...      # the name exists, without such a record
        case Status.NXDOMAIN: ...    # the name does not exist, or could not
        case Status.TEMPERROR: ...   # nobody knows; answer.reason says why, in words of ours

Owns the words of an answer and of a name. A query never raises for a failure of DNS; cancellation passes
through. Names are text without the final dot, in which a character up to U+00FF is one octet; no case
counts, and those of an answer are in lower case. Internationalised names are given as A-labels
(`relay.domains.encode_domain`). `relay.resolver` asks real servers, `relay.auth.zone` a file or a mapping.
RFC 1035, RFC 2308.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from string import ascii_lowercase, ascii_uppercase
from typing import Protocol

from relay.networks import Address

NAME_OCTETS = 253  # RFC 1035 §2.3.4: 255 on the wire, of which one is the first length and one the root
_LABEL = r"[\x00-\x2d\x2f-\xff]{1,63}+"  # RFC 1035 §2.3.4
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*+")

_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)  # other letters are octets, and have no case


class RecordType(StrEnum):
    """The types of records that the relay asks for."""

    A = "A"
    AAAA = "AAAA"
    MX = "MX"
    PTR = "PTR"
    TXT = "TXT"
    TLSA = "TLSA"


class Status(StrEnum):
    """The four things that an answer can be."""

    FOUND = "found"
    NODATA = "nodata"
    NXDOMAIN = "nxdomain"
    TEMPERROR = "temperror"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer to one question. Only the field of the type that was asked for is filled, when found."""

    status: Status
    #: TXT: the strings of each record joined, as octets. TLSA: the octets of each record.
    texts: tuple[bytes, ...] = ()
    #: A and AAAA.
    addresses: tuple[Address, ...] = ()
    #: PTR, and the hosts of MX by preference; "" is the root, as in a null MX (RFC 7505).
    names: tuple[str, ...] = ()
    #: The cause of a temperror, in words of ours without anything that came from outside; else "".
    reason: str = ""


class Resolver(Protocol):
    """A source of answers: the DNS within a deadline, or a zone file."""

    async def query(self, name: str, kind: RecordType) -> Answer:
        """Ask for the records of a name, CNAMEs followed.

        A name that no server could have (`is_name` is false) is answered with NXDOMAIN without asking.
        """
        ...


def build_temperror(reason: str) -> Answer:
    """The answer where none is known."""
    return Answer(status=Status.TEMPERROR, reason=reason)


NODATA = Answer(status=Status.NODATA)
NXDOMAIN = Answer(status=Status.NXDOMAIN)


def is_name(name: str) -> bool:
    """Returns whether DNS can carry this name: labels of 1 to 63 octets, 253 with their dots, none above
    U+00FF.
    """
    return len(name) <= NAME_OCTETS and _NAME.fullmatch(name) is not None


def normalise_name(name: str) -> str:
    """The one form of a name: without the final dot, ASCII letters in lower case (RFC 4343 §3)."""
    folded = name.lower() if name.isascii() else name.translate(_LOWER)
    return folded.removesuffix(".")


def reverse_name(address: Address) -> str:
    """The name below in-addr.arpa or ip6.arpa that has an address's PTR records (RFC 1035 §3.5, RFC 3596
    §2.5).
    """
    return address.reverse_pointer

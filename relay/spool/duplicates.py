"""The rule of duplicates: which mail is a retransmission, and the client token that says the same to Connect.

Owns what is compared (docs/spool.md, "Duplicates"): the octets but our Received line, the destination, the
route, the subaddress tag and the reverse-path without what a forwarder or a sender changes at each try. The
token is made of exactly that. Never does I/O. Follows draft-levine-smtp-batv (prvs) and the Sender Rewriting
Scheme (SRS0, SRS1).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

from relay.domains import normalise_address, normalise_domain

#: `prvs=<tag>=<local part>`, and Barracuda's `btv1==<tag>==<local part>`.
_BATV = re.compile(r"(?:prvs=[^=]*=|btv1==[^=]*==)(.+)", re.IGNORECASE | re.DOTALL)
#: `SRS0=<hash>=<timestamp>=<domain>=<local part>`; the mark behind SRS0 is the forwarder's choice.
_SRS0 = re.compile(r"SRS0[=+-][^=]*=[^=]*=([^=]+)=(.+)", re.IGNORECASE | re.DOTALL)
#: `SRS1=<hash>=<first forwarder>=` and the rest of its SRS0.
_SRS1 = re.compile(r"SRS1[=+-][^=]*=([^=]+)=([=+-].+)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """The facts about one mail for one destination that the rule of duplicates compares."""

    fingerprint: str
    instance_id: str
    address: str
    #: None in a record of an earlier version, which vouches for every route, tag and sender.
    route: str | None
    tag: str | None
    #: The reverse-path as `normalise_reverse_path` gives it.
    sender: str | None
    #: The result of DMARC ("pass", "fail", …); "" where it was not asked.
    dmarc: str = ""


def normalise_reverse_path(reverse_path: str | None) -> str:
    """The reverse-path without the parts that differ between two tries of one mail (BATV tag, SRS hash and
    timestamp, case of the domain). Returns "" for the null reverse-path.
    """
    local, at, domain = (reverse_path or "").rpartition("@")
    return f"{_normalise_local(local)}{at}{normalise_domain(domain)}"


def normalise_author(author: str | None) -> str | None:
    """The author in the form in which it is compared: that of a reverse-path. Returns None if there is no
    author.
    """
    return normalise_reverse_path(author) if author else None


def _normalise_local(local: str) -> str:
    if batv := _BATV.fullmatch(local):
        local = batv[1]
    if srs1 := _SRS1.fullmatch(local):
        inner = _SRS0.fullmatch(f"SRS0{srs1[2]}")
        rest = _join_srs0(inner) if inner else srs1[2]
        return f"SRS1={srs1[1].lower()}={rest}"
    if srs0 := _SRS0.fullmatch(local):
        return f"SRS0={_join_srs0(srs0)}"
    return local


def _join_srs0(found: re.Match[str]) -> str:
    domain, local = found[1], found[2]
    batv = _BATV.fullmatch(local)
    return f"{domain.lower()}={batv[1] if batv else local}"


def is_retransmission(mail: Likeness, earlier: Likeness) -> bool:
    """The rule of duplicates for two mails, without its time window. Returns whether `mail` repeats
    `earlier`.
    """
    if (mail.fingerprint, mail.instance_id, normalise_address(mail.address)) != (
        earlier.fingerprint,
        earlier.instance_id,
        normalise_address(earlier.address),
    ):
        return False
    if mail.dmarc == "pass" and earlier.dmarc == "fail":
        return False  # the mail that DMARC failed came first, and is no proof for the real author's mail
    if earlier.tag is None:
        return True
    return (mail.route, mail.tag, mail.sender) == (earlier.route, earlier.tag, earlier.sender)


def build_token(mail: Likeness, *, salt: str) -> str:
    """The client token of a mail for one destination. Retransmissions of the mail get the same token, all
    other mails another one.

    `salt` is the spool id if the mail has no Message-ID: two such mails may have the same octets and still be
    two mails. A mail that DMARC failed gets a token of its own, because a mail that DMARC passed is never its
    duplicate. The token has 68 characters; ClientToken may have 500.
    """
    return _hash(
        mail.instance_id,
        normalise_address(mail.address),
        mail.fingerprint,
        mail.route or "",
        mail.tag or "",
        mail.sender or "",
        salt,
        "dmarc=fail" if mail.dmarc == "fail" else "",
    )


def build_next_token(token: str, *, rung: int) -> str:
    """The token that follows `token` after Connect refused the payload under it; `rung` is the number of the
    next rung.
    """
    return _hash(token, str(rung))


def _hash(*parts: str) -> str:
    record = json.dumps(parts, separators=(",", ":"))
    return f"cmr-{hashlib.sha256(record.encode('utf-8')).hexdigest()}"

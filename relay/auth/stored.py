"""The results that are stored with a mail, written in front of it as a field of ours (RFC 8601).

Owns the copy of a mail that `relay queue export --results` gives: our Authentication-Results at its top, and
none that somebody else wrote in our name (RFC 8601 §5). The stored mail is never changed. Linear in the
octets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from relay.auth.authres import read_authserv_id
from relay.auth.results import Statement, write_field
from relay.auth.words import Result
from relay.domains import normalise_domain
from relay.envelope import Envelope

#: The words of scanners, which are not those of RFC 8601.
_SCANS = {
    "clean": Result.PASS,
    "virus": Result.FAIL,
    "spam": Result.FAIL,
    "too_big": Result.NEUTRAL,
    "unavailable": Result.TEMPERROR,
}
_LINE = re.compile(rb"\r\n(?![ \t])")
_NAME = re.compile(rb"authentication-results[ \t]*+:", re.IGNORECASE)


def add_results(
    raw: bytes, results: Mapping[str, str], *, hostname: str, envelope: Envelope, trace_size: int
) -> bytes:
    """The mail with our field in front of our Received field, and without forged ones.

    `results` are those of the attributes' names; a mail that was not checked gets the word `none`.
    """
    field = write_field(hostname, list(_state(results, envelope)))
    trace, mail = raw[:trace_size], raw[trace_size:]
    if mail.startswith(b"\r\n"):  # it has no header: nothing in its body is a field
        return field + raw
    header, end, body = mail.partition(b"\r\n\r\n")
    kept = [line for line in _LINE.split(header) if not _is_forged(line, hostname)]
    # A mail whose header was nothing but forged fields still has the line that ends it.
    return field + trace + b"\r\n".join(kept) + (end if kept else end[2:]) + body


def _is_forged(line: bytes, hostname: str) -> bool:
    """Returns whether a field is an Authentication-Results in our name."""
    match = _NAME.match(line)
    if match is None:
        return False
    claimed = read_authserv_id(line[match.end() :])
    return normalise_domain(claimed.rstrip(".")) == normalise_domain(hostname.rstrip("."))


def _find_judged(results: Mapping[str, str], envelope: Envelope) -> str:
    """The address that iprev is about; "" where it stands in a Received field of the mail alone."""
    behind = "relay_hop_detail" in results and not envelope.peer.front_end
    return "" if behind else envelope.peer.address


def _state(results: Mapping[str, str], envelope: Envelope) -> Iterator[Statement]:
    domain = (envelope.reverse_path or "").rpartition("@")[2]
    properties = {
        "spf": ("smtp.mailfrom", domain),
        "dmarc": ("policy.dmarc", results.get("relay_dmarc_policy", "")),
        "iprev": ("policy.iprev", _find_judged(results, envelope)),
    }
    for method in ("spf", "dkim", "arc", "dmarc", "iprev", "dnsbl"):
        word = results.get(f"relay_{method}", "")
        if word in set(Result):
            yield Statement(
                method=method,
                result=Result(word),
                reason=results.get(f"relay_{method}_detail", ""),
                properties=(properties[method],) if method in properties else (),
            )
    for kind in ("virus", "spam"):
        if (scan := _SCANS.get(results.get(f"relay_{kind}", ""))) is not None:
            # RFC 8601 §2.7.6: methods without a registration begin with "x-".
            yield Statement(method=f"x-{kind}", result=scan, reason=results.get(f"relay_{kind}_detail", ""))

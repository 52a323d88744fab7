"""Authentication-Results: the results of all checks as one header field of ours (RFC 8601).

Owns the field's form. A result is first stated, as method, word and properties, and then written. Every
token that a peer, a signer or a list chose is written as RFC 8601 §2.2 allows: plain where it is a token, a
domain or an address, else quoted, in printable ASCII, cut at 255 characters. Never reads a field:
`relay.auth.authres` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from relay.auth.arc import ArcResult
from relay.auth.dkim import DkimResult
from relay.auth.dmarc import DmarcResult
from relay.auth.dnsbl import DnsblResult
from relay.auth.iprev import IprevResult
from relay.auth.spf_result import SpfIdentity, SpfResult
from relay.auth.words import Result, show

#: Characters that `show` leaves plain and RFC 2045 §5.1 does not: a token has no slash.
_NO_TOKEN = re.compile(r"[/]")
_LONGEST_REASON = 400  # with each character escaped, still within the 998 of a line (RFC 5322 §2.1.1)
AnyResult = SpfResult | DkimResult | ArcResult | DmarcResult | IprevResult | DnsblResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A result, as a header field says it."""

    method: str
    result: Result
    #: In words of ours; outside text in it stands in quotes.
    reason: str = ""
    #: ptype.property and the value, unquoted (RFC 8601 §2.2); an empty value is left out.
    properties: tuple[tuple[str, str], ...] = ()


def state(result: AnyResult) -> Statement:
    """The statement of a result, with the properties that RFC 8601 §2.7 names for its method."""
    match result:
        case SpfResult():
            return _state("spf", result, (f"smtp.{result.identity}", _name_spf(result)))
        case DkimResult():
            return _state(
                "dkim",
                result,
                ("header.d", result.domain),
                ("header.i", result.identity),
                ("header.s", result.selector),
                ("header.a", result.algorithm),
            )
        case ArcResult():
            return _state("arc", result, ("header.oldest-pass", _find_oldest_pass(result)))
        case DmarcResult():
            policy = str(result.policy or "")
            return _state("dmarc", result, ("header.from", result.domain), ("policy.dmarc", policy))
        case IprevResult():
            return _state("iprev", result, ("policy.iprev", str(result.address)))
        case DnsblResult():
            return _state("dnsbl", result, ("dns.zone", result.zone), ("policy.ip", ",".join(result.codes)))


def _state(method: str, result: AnyResult, *properties: tuple[str, str]) -> Statement:
    return Statement(method=method, result=result.result, reason=result.reason, properties=properties)


def _name_spf(result: SpfResult) -> str:
    """The domain that SPF was asked about; "unknown" where a peer gave none (RFC 8601 wants a value)."""
    return result.domain or ("unknown" if result.identity is SpfIdentity.HELO else "")


def _find_oldest_pass(result: ArcResult) -> str:
    """RFC 8617 §5.2: the lowest instance from which on every message signature is good; "" without a pass."""
    if result.result is not Result.PASS:
        return ""
    oldest = ""
    for one in sorted(result.sets, key=lambda each: -each.instance):
        if one.message.result is not Result.PASS:
            break
        oldest = str(one.instance)
    return oldest


def build_field(authserv_id: str, results: Iterable[AnyResult]) -> bytes:
    """The field with its line end, one result a line; `none` where nothing was checked (RFC 8601 §2.2)."""
    return write_field(authserv_id, [state(result) for result in results])


def write_field(authserv_id: str, statements: Sequence[Statement]) -> bytes:
    """The field of these statements, with its line end."""
    lines = [f"Authentication-Results: {_write_value(authserv_id)}"]
    lines += [_write(statement) for statement in statements] or ["none"]
    return ";\r\n\t".join(lines).encode("ascii") + b"\r\n"


def _write(statement: Statement) -> str:
    words = [f"{statement.method}={statement.result}"]
    if statement.reason:
        words.append(f"reason={_quote(statement.reason)}")
    words += [f"{name}={_write_value(value)}" for name, value in statement.properties if value]
    return "\r\n\t ".join(words)


def _write_value(value: str) -> str:
    """A value as it is, where it is a token, a domain or an address; else quoted."""
    shown = show(value)
    return f'"{shown}"' if _NO_TOKEN.search(shown) and not shown.startswith('"') else shown


def _quote(reason: str) -> str:
    """A sentence as a quoted string (RFC 5322 §3.2.4)."""
    printable = re.sub(r"[^ -~]", "?", reason[:_LONGEST_REASON])
    return '"' + printable.replace("\\", "\\\\").replace('"', '\\"') + '"'

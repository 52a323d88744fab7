"""ESMTP parameters of MAIL and RCPT.

Owns SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), RET, ENVID, NOTIFY and ORCPT (RFC 3461) and AUTH
(RFC 4954 §5). Values in, values out: wrong parameters come back as the reply that refuses them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from relay import replies
from relay.vocabulary import Reply

_PARAMETER = re.compile(
    rb"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e\x80-\xff][\x21-\x7e\x80-\xff]*))?"
)
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")  # RFC 3461 §4
_ORCPT = re.compile(
    r"[A-Za-z0-9-]+;[^\x00-\x20\x7f]+"
)  # with SMTPUTF8 the address may be unitext (RFC 6533 §3)
_NOTIFY = frozenset({"SUCCESS", "FAILURE", "DELAY"})
_MOST_OCTETS = 2**63 - 1  # RFC 1870 §3 allows 20 digits; no disk holds more than this


@dataclass(frozen=True, slots=True, kw_only=True)
class MailParameters:
    """The parameters of MAIL."""

    size: int | None = None
    smtputf8: bool = False
    ret: str | None = None
    envid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RcptParameters:
    """The parameters of RCPT."""

    notify: str | None = None
    orcpt: str | None = None


_NO_MAIL_PARAMETERS = MailParameters()
_NO_RCPT_PARAMETERS = RcptParameters()


def _split(octets: bytes) -> dict[str, str | None] | Reply:
    """The parameters by their names in upper case. A name may come once."""
    found: dict[str, str | None] = {}
    for word in octets.split():
        match = _PARAMETER.fullmatch(word)
        if match is None:
            return replies.BAD_ARGUMENT
        name = match[1].decode().upper()
        if name in found:
            return replies.BAD_ARGUMENT
        try:
            found[name] = match[2].decode() if match[2] is not None else None
        except UnicodeDecodeError:
            return replies.BAD_ARGUMENT
    return found


def parse_mail_parameters(octets: bytes, *, auth: bool = False) -> MailParameters | Reply:
    """The parameters of MAIL, or the reply that refuses them. With `auth`, AUTH is taken, offered or not; its
    value is not used.
    """
    if not octets:
        return _NO_MAIL_PARAMETERS
    found = _split(octets)
    if isinstance(found, Reply):
        return found
    known = {"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID"} | ({"AUTH"} if auth else set())
    body = (found.get("BODY", "7BIT") or "").upper()
    # BINARYMIME (RFC 3030 §3) is not offered: 5.5.4 and class 5 tell the sender to convert or to return the
    # mail.
    if not found.keys() <= known or body == "BINARYMIME":
        return replies.PARAMETER_UNKNOWN
    size, ret, envid = (
        found.get("SIZE", "0") or "",
        found.get("RET", "FULL") or "",
        found.get("ENVID", "x") or "",
    )
    if (
        not (size.isascii() and size.isdigit() and len(size) <= 20 and int(size) <= _MOST_OCTETS)
        or body not in ("7BIT", "8BITMIME")
        or ("SMTPUTF8" in found and found["SMTPUTF8"] is not None)
        or ret.upper() not in ("FULL", "HDRS")
        or not (envid and len(envid) <= 100 and _XTEXT.fullmatch(envid))
        or ("AUTH" in found and not found["AUTH"])
    ):
        return replies.BAD_ARGUMENT
    return MailParameters(
        size=int(size) if "SIZE" in found else None,
        smtputf8="SMTPUTF8" in found,
        ret=ret.upper() if "RET" in found else None,
        envid=found.get("ENVID"),
    )


def parse_rcpt_parameters(octets: bytes) -> RcptParameters | Reply:
    """The parameters of RCPT, or the reply that refuses them."""
    if not octets:
        return _NO_RCPT_PARAMETERS
    found = _split(octets)
    if isinstance(found, Reply):
        return found
    if not found.keys() <= {"NOTIFY", "ORCPT"}:
        return replies.PARAMETER_UNKNOWN
    notify, orcpt = found.get("NOTIFY", "NEVER") or "", found.get("ORCPT", "x;x") or ""
    words = notify.upper().split(",")
    # RFC 3461 §4.1: NEVER alone, or a list; §4.2: an address type, a semicolon, the address; 500 octets.
    if (words != ["NEVER"] and (not _NOTIFY.issuperset(words) or len(words) != len(set(words)))) or (
        len(orcpt) > 500 or not _ORCPT.fullmatch(orcpt)
    ):
        return replies.BAD_ARGUMENT
    return RcptParameters(notify=notify.upper() if "NOTIFY" in found else None, orcpt=found.get("ORCPT"))

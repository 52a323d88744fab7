"""Paths: the argument of MAIL and RCPT, taken apart.

Owns the grammar of reverse-path and forward-path (RFC 5321 §4.1.2, §4.5.3.1; RFC 6531 §3.3). Values in,
values out. Every byte string gives a `Path` or None, in time linear in its length. Command lines are bounded
before they come here.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

# RFC 5321 §4.1.2 with the non-ASCII octets of RFC 6531 §3.3; the caller asks whether those were allowed.
_ATEXT = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-]++"
_DOT_ATOM = _ATEXT + rb"(?:\." + _ATEXT + rb")*+"
_QTEXT = rb"[\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]*+"
_QUOTED = rb'"' + _QTEXT + rb"(?:\\[\x20-\x7e]" + _QTEXT + rb')*+"'
# Underscores are no part of a host name (RFC 1123), and yet real senders have them.
_LABELS = rb"[A-Za-z0-9_\x80-\xff-]++(?:\.[A-Za-z0-9_\x80-\xff-]++)*+"
_DOMAIN = rb"(?:" + _LABELS + rb"|\[[A-Za-z0-9:.-]+\])"
# RFC 5321 Appendix C: a source route is read, and ignored.
_ROUTE = rb"(?:@" + _LABELS + rb"(?:,@" + _LABELS + rb")*+:)?+"
_ANGLE = re.compile(
    rb"<(?:"
    + _ROUTE
    + rb"(?P<local>"
    + _DOT_ATOM
    + rb"|"
    + _QUOTED
    + rb")(?:@(?P<domain>"
    + _DOMAIN
    + rb"))?)?>(?: +(?P<parameters>.*))?",
    re.DOTALL,
)
# What Postfix takes by default (strict_rfc821_envelopes = no): no brackets, one too many; names, comments and
# blanks within them; a final dot, comma or semicolon; the dots of Japanese carriers anywhere in a local
# part, as in `a..b@` and `a.@`.
_DOTTED = rb"\.*+" + _ATEXT + rb"(?:\.++" + _ATEXT + rb")*+\.*+"
_SLOPPY = re.compile(
    # `< >` is the null path; `<<a@b.example>>`, `<Ann <a@b.example>>` and `<mailto:a@b.example>` are paths.
    rb"(?:< +>|(?P<open><(?:[^<>@\"]*+<)?+)? *(?:[Mm][Aa][Ii][Ll][Tt][Oo]:)?+"
    + _ROUTE
    + rb"(?P<local>"
    + _DOTTED
    + rb"|"
    + _QUOTED
    + rb")(?(open) *+)(?:@(?(open) *+)(?P<domain>"
    + _DOMAIN
    + rb")(?(open) *+)\.?)?"
    # After an opened bracket nothing but its end, or what says nothing: `<two words>` is no path `two` with
    # parameters.
    + rb"(?(open) *+(?:\([^()<>]*+\) *+)?+[,;]?+ *+(?:>{1,2}+|\Z)|>?+))(?: +(?P<parameters>.*))?",
    re.DOTALL,
)
# An open relay probe, `user@elsewhere@here`: read so that it can be refused by its right name.
_TWO_AT = re.compile(
    rb"<(?P<local>"
    + _DOT_ATOM
    + rb"@"
    + _LABELS
    + rb")@(?P<domain>"
    + _LABELS
    + rb")>(?: +(?P<parameters>.*))?",
    re.DOTALL,
)
_PLAIN = re.compile(r"[^\s\"\\@<>()\[\],;:.]+(?:\.[^\s\"\\@<>()\[\],;:.]+)*")
_PAIR = re.compile(r"\\(.)")


class PathLimits(NamedTuple):
    """The octets that a path may have."""

    #: Of the local part.
    local: int
    #: Of local part and domain.
    both: int


#: RFC 5321 §4.5.3.1.1 and .3: 64 octets of local part, 256 of path with its brackets and the @.
STRICT = PathLimits(local=64, both=253)
#: Of a recipient at a listener that is not strict: only the whole path is limited.
LONG_LOCAL = PathLimits(local=253, both=253)
#: Of a reverse-path: VERP and SRS write longer ones, and a reply must reach them.
REVERSE = PathLimits(local=255, both=510)


class Path(NamedTuple):
    """A path, and the parameters that followed it."""

    #: "" for the null path.
    local: str
    #: The domain in lower case; "" when there is none.
    domain: str
    #: The parameters, undecoded.
    parameters: bytes
    #: True if only the lenient reading found the path.
    sloppy: bool

    @property
    def address(self) -> str:
        """The address, local-part@domain, or the local part alone. Returns "" for the null path."""
        return f"{self.local}@{self.domain}" if self.domain else self.local


def parse_path(argument: bytes, keyword: bytes, *, lenient: bool, limits: PathLimits = STRICT) -> Path | None:
    """The path after `FROM:` or `TO:`. Returns None when there is none.

    A blank after the colon is accepted: RFC 5321 §3.3 forbids it, and senders write it all the same.
    """
    size = len(keyword)
    if argument[:size].upper() != keyword:
        return None
    text = argument[size:].lstrip(b" ")
    found, sloppy = _ANGLE.fullmatch(text), False
    if found is None:
        found = _TWO_AT.fullmatch(text)
    if found is None and lenient:
        found, sloppy = _SLOPPY.fullmatch(text), True
    if found is None:
        return None
    local, domain, parameters = found.group("local", "domain", "parameters")
    return _path(local or b"", domain or b"", parameters or b"", sloppy=sloppy, limits=limits)


def _path(local: bytes, domain: bytes, parameters: bytes, *, sloppy: bool, limits: PathLimits) -> Path | None:
    """The path of these parts, decoded. Returns None when one of them is over its limit."""
    # RFC 5321 §4.5.3.1.2: 255 octets of domain.
    if len(local) > limits.local or len(domain) > 255 or len(local) + len(domain) > limits.both:
        return None
    try:
        local_text, domain_text = local.decode(), domain.decode().lower()
    except UnicodeDecodeError:
        return None
    if not local_text.isprintable() or not domain_text.isprintable():
        return None  # C1 controls and their like, which no address has
    if domain.startswith(b"[") and not _is_literal(domain_text):
        return None
    if local.startswith(b'"'):
        bare = _PAIR.sub(r"\1", local_text[1:-1])
        if _PLAIN.fullmatch(bare):
            local_text = bare  # RFC 5321 §4.1.2: quoted or not, it is the same mailbox
    return Path(local_text, domain_text, parameters.strip(b" "), sloppy)


def _is_literal(text: str) -> bool:
    """Returns whether `[...]` holds an address (RFC 5321 §4.1.3)."""
    inner = text[1:-1]
    if "%" in inner:
        return False  # a scope means nothing on another machine
    try:
        if inner.startswith("ipv6:"):
            ipaddress.IPv6Address(inner[5:])
        else:
            ipaddress.IPv4Address(inner)
    except ValueError:
        return False
    return True

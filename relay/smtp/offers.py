"""Offers: what a session may do now, as EHLO announces it and HELP names it.

Owns the words of both. Decides by the listener and by what is known of the peer (TLS, login, address), never by what
was said before: the order of commands is `session`'s. Follows RFC 5321 §4.1.1.1 and §4.1.1.8, RFC 9422 (LIMITS).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from relay import replies
from relay.smtp.site import Site, contains
from relay.verdict import Reply

#: The order in which they are announced.
_EXTENSIONS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING", "DSN")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What hangs on more than the listener."""

    starttls: bool
    auth: bool
    xclient: bool
    #: Only what leads to TLS is taken (RFC 3207 §4).
    tls_first: bool
    #: No mail is taken before a login (RFC 4954 §6).
    login_first: bool


def decide_offer(site: Site, *, secured: bool, authenticated: bool, address: str) -> Offer:
    """The offer to a peer at this address, under TLS or not, known or not."""
    tls_first = site.tls_first and not secured
    return Offer(
        starttls=site.starttls and not secured,
        # RFC 4954 §4: once, and no password in clear.
        auth=site.users is not None and secured and not authenticated,
        xclient=bool(site.xclient) and not tls_first and contains(site.xclient, address),
        tls_first=tls_first,
        login_first=site.listener.auth == "required" and not authenticated,
    )


@lru_cache(maxsize=256)
def build_hello(site: Site, offer: Offer) -> bytes:
    """The reply to EHLO and LHLO."""
    lines = [
        site.hostname,
        *_EXTENSIONS,
        f"SIZE {site.max_bytes}",
        f"LIMITS RCPTMAX={site.limits.recipients}",
    ]
    if offer.starttls:
        lines.append("STARTTLS")
    if offer.auth:
        lines.append("AUTH PLAIN LOGIN")
    if offer.xclient:
        lines.append("XCLIENT NAME ADDR PORT PROTO HELO LOGIN")
    lines.append("HELP")
    return replies.build_lines(250, tuple(lines))


def build_help(site: Site, offer: Offer, *, plain: bool) -> Reply:
    """The reply to HELP; `plain`: the peer has said HELO, so that no extension was offered to it (RFC 5321 §2.2.1)."""
    extended = not plain
    mail = not (offer.tls_first or offer.login_first)
    offered = {
        "HELO": not site.lmtp,
        "EHLO": not site.lmtp,
        "LHLO": site.lmtp,
        "MAIL": mail,
        "RCPT": mail,
        "DATA": mail,
        "BDAT": mail and extended,
        "RSET": True,
        "NOOP": True,
        "QUIT": True,
        "VRFY": not offer.tls_first,
        "HELP": True,
        "STARTTLS": offer.starttls and extended,
        "AUTH": offer.auth and extended,
        "XCLIENT": offer.xclient and extended,
    }
    return replies.fill(replies.HELP, commands=" ".join(word for word, yes in offered.items() if yes))

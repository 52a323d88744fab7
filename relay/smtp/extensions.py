"""Extensions: the abilities of a session, as EHLO announces them and HELP names them.

Owns the words of both. Decides by the listener and by the facts known of the peer (TLS, login, address),
never by the commands before: their order is checked in `session`. Follows RFC 5321 §4.1.1.1 and §4.1.1.8, RFC
9422 (LIMITS).
"""

from __future__ import annotations

from dataclasses import dataclass

from relay import replies
from relay.smtp.remembered import remembered
from relay.smtp.settings import ListenerSettings, contains
from relay.vocabulary import Reply

#: The extensions in the order in which they are announced. Not DSN: we send no notifications, and a relay
#: before us that does not see it announced keeps that duty (RFC 3461 §5.2.2). The parameters are taken.
_EXTENSIONS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING")


@dataclass(frozen=True, slots=True, kw_only=True)
class Extensions:
    """The abilities that depend on more than the listener."""

    starttls: bool
    auth: bool
    xclient: bool
    xforward: bool
    #: Only the commands that lead to TLS are taken (RFC 3207 §4).
    tls_first: bool
    #: No mail is taken before a login (RFC 4954 §6).
    login_first: bool


def decide_extensions(
    settings: ListenerSettings, *, secured: bool, authenticated: bool, address: str
) -> Extensions:
    """The abilities offered to a peer at this address, under TLS or not, logged in or not."""
    tls_first = settings.tls_first and not secured
    return Extensions(
        starttls=settings.starttls and not secured,
        # RFC 4954 §4: one login a session, and no password in clear.
        auth=settings.users is not None and secured and not authenticated,
        xclient=bool(settings.xclient) and not tls_first and contains(settings.xclient, address),
        xforward=bool(settings.xforward) and not tls_first and contains(settings.xforward, address),
        tls_first=tls_first,
        login_first=settings.listener.auth == "required" and not authenticated,
    )


@remembered(64)  # as many ways there are to set the six
def build_hello(settings: ListenerSettings, extensions: Extensions) -> bytes:
    """The reply to EHLO and LHLO."""
    lines = [
        settings.hostname,
        *_EXTENSIONS,
        f"SIZE {settings.max_bytes}",
        f"LIMITS RCPTMAX={settings.limits.recipients}",
    ]
    if extensions.starttls:
        lines.append("STARTTLS")
    if extensions.auth:
        lines.append("AUTH PLAIN LOGIN")
    if extensions.xclient:
        lines.append("XCLIENT NAME ADDR PORT PROTO HELO LOGIN")
    if extensions.xforward:
        lines.append("XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE")
    lines.append("HELP")
    return replies.build_lines(250, tuple(lines))


def build_help(settings: ListenerSettings, extensions: Extensions, *, plain: bool) -> Reply:
    """The reply to HELP. With `plain` the peer has said HELO, and no extension was offered to it (RFC 5321
    §2.2.1).
    """
    extended = not plain
    mail = not (extensions.tls_first or extensions.login_first)
    offered = {
        "HELO": not settings.lmtp,
        "EHLO": not settings.lmtp,
        "LHLO": settings.lmtp,
        "MAIL": mail,
        "RCPT": mail,
        "DATA": mail,
        "BDAT": mail and extended,
        "RSET": True,
        "NOOP": True,
        "QUIT": True,
        "VRFY": not extensions.tls_first,
        "HELP": True,
        "STARTTLS": extensions.starttls and extended,
        "AUTH": extensions.auth and extended,
        "XCLIENT": extensions.xclient and extended,
        "XFORWARD": extensions.xforward and extended,
    }
    return replies.fill(replies.HELP, commands=" ".join(word for word, yes in offered.items() if yes))

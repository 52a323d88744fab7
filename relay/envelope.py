"""The envelope of a mail: who handed it over, from whom, and for whom.

Owns the values that leave an SMTP session. Never does I/O. Follows RFC 5321 §2.3.1 and §3.3, RFC 3461
(DSN parameters) and RFC 6531 (SMTPUTF8).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NewType

#: The id of an accepted mail: in its `Received:` line, its S3 keys, every log line and the reply to DATA.
SpoolId = NewType("SpoolId", str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The other side of a session, as far as we know it."""

    #: Textual IP address, after PROXY protocol or XCLIENT where those were believed.
    address: str
    port: int
    #: The name given in HELO, EHLO or LHLO; None before one came.
    helo: str | None = None
    #: RFC 3848 transmission type: SMTP, ESMTP, ESMTPS, ESMTPA, ESMTPSA, UTF8SMTPS, LMTP, ...
    protocol: str = "SMTP"
    #: "TLSv1.3 TLS_AES_256_GCM_SHA384", or None in clear.
    tls: str | None = None
    #: The login of an authenticated peer, else None.
    login: str | None = None
    #: "mx" or "trusted": the role of the listener that took the session.
    role: str = "mx"
    #: The listener's bind address as configured.
    listener: str = ""
    #: The address of the front-end of ours that named this peer (PROXY, XCLIENT, XFORWARD); "" where the peer
    #: connected itself.
    front_end: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardPath:
    """One RCPT argument that we accepted."""

    #: local-part@domain, source route removed, the domain in lower case.
    address: str
    #: RFC 3461 ORCPT and NOTIFY as given, None when absent.
    orcpt: str | None = None
    notify: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A Connect e-mail address that one entry is delivered to."""

    instance_id: str
    address: str
    #: The forward-paths that led here, in the order of RCPT; never empty.
    forward_paths: tuple[str, ...]
    #: The name of the route that matched them.
    route: str
    #: Their subaddress tag, in lower case (RFC 5233); "" when they have none.
    tag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The envelope of a mail: everything that its transaction said about it, besides the mail itself."""

    #: The address of MAIL FROM; None for the null reverse-path `<>`.
    reverse_path: str | None
    forward_paths: tuple[ForwardPath, ...]
    peer: Peer
    #: Aware, UTC.
    received_at: datetime
    smtputf8: bool = False
    #: RFC 3461 RET and ENVID as given.
    ret: str | None = None
    envid: str | None = None
    #: Repairs that the listener made: "bare-lf", "path"; on a trusted one also "message-id", "date".
    repairs: tuple[str, ...] = field(default=())
    #: Attributes of the contact that the operator's handlers have set, name and value (docs/smtp.md,
    #: "Handlers").
    attributes: tuple[tuple[str, str], ...] = ()

"""A transaction: from MAIL to the end of the data, and the envelope that comes of it.

Owns which senders and recipients are taken, and by which reply others are refused (RFC 5321 §3.3, §4.5.1,
§7.9). A recipient is taken only when a route matches: the relay never forwards to other mail servers. Never
touches a socket.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from relay import replies, telemetry
from relay.domains import normalise_address
from relay.envelope import Envelope, ForwardPath, Peer, SpoolId
from relay.smtp.parameters import MailParameters, parse_mail_parameters, parse_rcpt_parameters
from relay.smtp.paths import LONG_LOCAL, REVERSE, STRICT, Path, parse_path
from relay.smtp.remembered import remembered
from relay.smtp.settings import ListenerSettings
from relay.vocabulary import Reply


@dataclass(slots=True, kw_only=True)
class Transaction:
    """The state of a transaction: everything that MAIL and RCPT have said so far."""

    settings: ListenerSettings
    spool_id: SpoolId
    #: None for the null reverse-path.
    reverse_path: str | None
    parameters: MailParameters
    #: The parameters of MAIL as they came.
    options: bytes = b""
    #: On the event loop's clock.
    started_at: float
    forward_paths: list[ForwardPath] = field(default_factory=list)
    #: The last refusal of a recipient.
    refusal: Reply | None = None
    #: The first refusal for now only, a 4yz: the mail should come again.
    deferral: Reply | None = None
    #: Recipients refused because we do not have them.
    guesses: int = 0
    #: The words for the faults that the listener overlooked.
    repairs: set[str] = field(default_factory=set)
    #: Set by the first BDAT: after it DATA is refused (RFC 3030 §2).
    chunked: bool = False
    #: Set when a chunk was refused: all later chunks are, too.
    failed: bool = False

    def envelope(self, peer: Peer, *, received_at: datetime) -> Envelope:
        """The frozen envelope. A recipient that was named twice stands in it once."""
        paths = self.forward_paths
        return Envelope(
            reverse_path=self.reverse_path,
            forward_paths=tuple({path.address: path for path in paths}.values() if len(paths) > 1 else paths),
            peer=peer,
            received_at=received_at,
            smtputf8=self.parameters.smtputf8,
            ret=self.parameters.ret,
            envid=self.parameters.envid,
            repairs=tuple(sorted(self.repairs)) if self.repairs else (),
        )

    def add_recipient(self, argument: bytes) -> tuple[Reply, str]:
        """Take a recipient, or refuse it. Returns the reply to its RCPT, and its address as far as that could
        be read.
        """
        reply, address, path, sloppy = read_recipient(
            self.settings, argument, smtputf8=self.parameters.smtputf8
        )
        if path is None:
            return reply, address
        if len(self.forward_paths) >= self.settings.limits.recipients:
            return replies.TOO_MANY_RECIPIENTS, address
        if sloppy:
            self.repairs.add("path")
        self.forward_paths.append(path)
        return reply, address

    def refuse(self, reply: Reply, address: str, *, said: str, peer: str, again: bool) -> None:
        """Note that a recipient was refused by the RCPT that was `said`, and log it; `again`: not among the
        first of its session.
        """
        self.refusal = reply
        if reply.code < 500:
            self.deferral = self.deferral or reply
        telemetry.recipient_refused(
            peer=peer, forward_path=address, said=said, reply=reply, spool_id=self.spool_id, again=again
        )


@remembered(1_024)  # a legacy system, and a mailing, send all day as the same few
def decide_sender(
    settings: ListenerSettings, argument: bytes, *, authenticated: bool
) -> tuple[Path, MailParameters] | Reply:
    """The reverse-path and parameters of MAIL, or the reply that refuses them."""
    path = parse_path(argument, b"FROM:", lenient=settings.lenient, limits=REVERSE)
    if path is None or (path.local and not path.domain and not settings.legacy):
        return replies.BAD_SENDER
    address = path.address
    if "@" in path.local and not path.local.startswith('"'):
        return replies.BAD_SENDER
    takes_auth = settings.lenient or settings.users is not None or authenticated
    parameters = parse_mail_parameters(path.parameters, auth=takes_auth)
    if isinstance(parameters, Reply):
        return parameters
    if not parameters.smtputf8 and not address.isascii():
        return replies.NEEDS_SMTPUTF8
    if parameters.size is not None and parameters.size > settings.max_bytes:
        return replies.fill(replies.TOO_BIG, octets=settings.max_bytes)
    if path.local and not path.domain:
        # A legacy system's "MAIL FROM:<root>": no reply reaches a name without a domain.
        path = path._replace(domain=settings.hostname, sloppy=True)
    return path, parameters


class Recipient(NamedTuple):
    """The reading of one RCPT, whatever came before it."""

    reply: Reply
    #: The address, as far as it could be read.
    address: str
    #: None when the recipient is refused.
    path: ForwardPath | None = None
    #: True if only the lenient reading found the path.
    sloppy: bool = False


@remembered(1_024)  # a mail server sees the same few recipients all day
def read_recipient(settings: ListenerSettings, argument: bytes, *, smtputf8: bool) -> Recipient:
    """The reading of the argument of a RCPT."""
    limits = LONG_LOCAL if settings.lenient else STRICT
    path = parse_path(argument, b"TO:", lenient=settings.lenient, limits=limits)
    if path is None or not path.local:
        return Recipient(replies.BAD_RECIPIENT, "")
    parameters = parse_rcpt_parameters(path.parameters)
    if isinstance(parameters, Reply):
        return Recipient(parameters, path.address)
    if not smtputf8 and not path.address.isascii():
        return Recipient(replies.NEEDS_SMTPUTF8, path.address)
    address = decide_recipient(path, settings=settings)
    if isinstance(address, Reply):
        return Recipient(address, path.address)
    taken = ForwardPath(address=address, orcpt=parameters.orcpt, notify=parameters.notify)
    return Recipient(replies.RECIPIENT_OK, address, taken, path.sloppy)


def decide_recipient(path: Path, *, settings: ListenerSettings) -> str | Reply:
    """The address as routes know it, or the reply that refuses it."""
    routes = settings.routes
    if not path.domain:
        return _postmaster(path, settings=settings)
    address = path.address
    # Routing in a local part (RFC 5321 §7.9, Appendix F.2): such an address is ours only when a route spells
    # it.
    if any(mark in path.local for mark in "@%!") and normalise_address(address) not in settings.exact:
        return replies.NO_RELAYING
    if routes.match(address) is not None:
        return address
    if routes.knows_domain(path.domain):
        return replies.UNKNOWN_RECIPIENT
    return replies.NO_RELAYING


def _postmaster(path: Path, *, settings: ListenerSettings) -> str | Reply:
    """The address for a path without a domain: `<postmaster>`, in any case, is our own postmaster (RFC 5321
    §4.5.1).
    """
    if path.local.lower() == "postmaster":
        for domain in settings.domains:
            if settings.routes.match(f"postmaster@{domain}") is not None:
                return f"postmaster@{domain}"
        return replies.UNKNOWN_RECIPIENT
    if settings.legacy:
        wanted = f"{path.local}@{settings.hostname}"
        if settings.routes.match(wanted) is not None:
            return wanted
        return replies.UNKNOWN_RECIPIENT
    return replies.BAD_RECIPIENT

"""Mails to try: built of a form, or taken from `.eml` files, and sent through the daemon's SMTP door.

Owns how a form becomes a mail, its bounds, and the dialog. The door is the real one: what it refuses is
refused.
"""

from __future__ import annotations

import secrets
import smtplib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid

from relay.web.extras import TryMail

#: Octets of all that one try sends: a little more than the door takes, so that its refusal can be seen.
MOST_BYTES = 60_000_000
#: Mails of one try.
_MOST_MAILS = 20
_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The outcome of the dialog."""

    accepted: bool
    #: The last reply, "250 2.0.0 Ok: queued as ..."; or a sentence on why none came.
    reply: str
    #: The ids of accepted mails.
    spool_ids: tuple[str, ...]
    #: The HELO name of the session, by which its transcript is found.
    helo: str


def build_mails(mail: TryMail, *, now: datetime) -> list[bytes]:
    """The mails of a form: each `.eml` file as it is, or one of the fields with the files attached.

    Raises:
        ValueError: a field cannot be sent; the sentence says which and why.
    """
    if sum(len(file.body) for file in mail.files) + len(mail.body) > MOST_BYTES:
        raise ValueError(f"Files: more than {MOST_BYTES:,} octets together; the door takes less.")
    if not mail.recipient.strip():
        raise ValueError("To: name a recipient.")
    for name, value in (("From", mail.sender), ("To", mail.recipient), ("Subject", mail.subject)):
        if any(each in value for each in "\r\n\0"):
            raise ValueError(f"{name}: has a line end in it; write one line.")
    whole = [file.body for file in mail.files if file.name.lower().endswith(".eml")]
    if len(whole) > _MOST_MAILS:
        raise ValueError(f"Files: {len(whole)} mails; send {_MOST_MAILS} at most at once.")
    return [_end_lines(octets) for octets in whole] or [_build(mail, now)]


def _end_lines(octets: bytes) -> bytes:
    """The octets of a file with the line ends of SMTP, which a file on a disk may lack."""
    return octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def _build(mail: TryMail, now: datetime) -> bytes:
    message = EmailMessage()
    message["From"] = _field("From", mail.sender) if mail.sender else "MAILER-DAEMON@example.org"
    message["To"] = _field("To", mail.recipient)
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(now)
    message["Message-ID"] = make_msgid(domain="sandbox.example")
    message.set_content(mail.body or "\n")
    for file in mail.files:
        main, _, sub = (file.content_type or "application/octet-stream").partition(";")[0].partition("/")
        if not (main.isascii() and main.isalpha() and sub) or main.lower() in ("multipart", "message"):
            main, sub = "application", "octet-stream"
        message.add_attachment(file.body, maintype=main, subtype=sub.strip(), filename=file.name)
    return message.as_bytes(policy=message.policy.clone(linesep="\r\n"))


def _field(name: str, address: str) -> Address:
    try:
        return Address(addr_spec=address.strip())
    except (ValueError, IndexError) as exc:
        raise ValueError(f"{name}: is no address ({exc}); write one like you@example.org.") from exc


def send(smtp: str, sender: str, recipient: str, mails: Sequence[bytes]) -> Sent:
    """Send mails in one session. Blocks, two minutes at most for each command. Never raises."""
    host, _, port = smtp.rpartition(":")
    helo = f"try-{secrets.token_hex(4)}.sandbox.example"
    spool_ids: list[str] = []
    reply, accepted = "", True
    try:
        with smtplib.SMTP(host.strip("[]"), int(port), local_hostname=helo, timeout=_SECONDS) as session:
            for octets in mails:
                code, reply = _send_one(session, sender.strip(), recipient.strip(), octets)
                accepted = accepted and code == 250
                if code == 250 and "queued as " in reply:
                    spool_ids.append(reply.rpartition("queued as ")[2].split()[0])
    except (smtplib.SMTPException, OSError, UnicodeError) as exc:
        return Sent(accepted=False, reply=reply or f"no reply: {exc}", spool_ids=tuple(spool_ids), helo=helo)
    return Sent(accepted=accepted, reply=reply, spool_ids=tuple(spool_ids), helo=helo)


def _send_one(session: smtplib.SMTP, sender: str, recipient: str, octets: bytes) -> tuple[int, str]:
    """Send one mail. Returns the last reply."""
    session.ehlo_or_helo_if_needed()
    options = [] if (sender + recipient).isascii() else ["SMTPUTF8"]
    if options:
        session.command_encoding = "utf-8"
    code, said = session.mail(sender, [*options, "BODY=8BITMIME"])
    if code == 250:
        code, said = session.rcpt(recipient)
    if code == 250:
        code, said = session.data(octets)
    if code != 250:
        session.rset()
    return code, f"{code} {said.decode('utf-8', 'replace')}".replace("\n", " ")

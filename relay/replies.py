"""The one table of replies to peers: code, enhanced code, text, and when each is given.

Owns every reply of the SMTP and LMTP edge; `docs/replies.md` is made of the same rows (`make docs`). Never
holds a configuration value or an exception's text. Rules: a fault of ours, or an unknown one, is 4yz; the
sender's, and lasting, is 5yz; the class of the enhanced code is that of the reply (RFC 3463, 2034); 220 at
the start, 250 to HELO and EHLO, 334 and 354 carry none.
"""

from __future__ import annotations

from dataclasses import dataclass

from relay.vocabulary import Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    reply: Reply
    #: The occasion of the reply, for the operator who finds it in a peer's log.
    when: str


_rows: list[Row] = []
_LINE_OCTETS = 512  # RFC 5321 §4.5.3.1.5, the final CRLF included


def _row(code: int, status: str, text: str, when: str) -> Reply:
    """A reply, entered in the table; {words} in braces are filled in when it is sent."""
    reply = Reply(code=code, status=status, text=text)
    _rows.append(Row(reply=reply, when=when))
    return reply


# fmt: off
# -- yes
HELP = _row(214, "0.0", "Commands: {commands}", "HELP; those that this session is offered now")
GREETING = _row(220, "", "{hostname} {protocol} ready", "a session begins (RFC 5321 §3.1), or XCLIENT was believed")
TLS_GO = _row(220, "0.0", "Ready to start TLS", "STARTTLS (RFC 3207 §4)")
BYE = _row(221, "0.0", "Bye", "QUIT")
AUTH_OK = _row(235, "7.0", "Authenticated", "AUTH with a good password (RFC 4954 §6)")
HELLO = _row(250, "", "{hostname}", "HELO, EHLO, LHLO; the extensions follow on further lines")
OK = _row(250, "0.0", "OK", "NOOP, RSET")
SENDER_OK = _row(250, "1.0", "OK", "MAIL accepted")
RECIPIENT_OK = _row(250, "1.5", "OK", "RCPT accepted")
CHUNK_OK = _row(250, "0.0", "{octets} octets taken", "BDAT, not the last chunk (RFC 3030 §2)")
QUEUED = _row(250, "0.0", "Ok: queued as {spool_id}", "the mail is accepted: it is on disk")
CANNOT_VERIFY = _row(252, "5.0", "Cannot verify; send mail and see", "VRFY: who is here is told at RCPT only (RFC 5321 §3.5.3, §7.3)")
CHALLENGE = _row(334, "", "{challenge}", "AUTH waits for the next answer")
DATA_GO = _row(354, "", "End data with <CR><LF>.<CR><LF>", "DATA")

# -- the session ends
PROXY_BAD = _row(421, "3.0", "No readable PROXY header, closing", "a listed proxy sent no header, a broken one, or was too slow")
SHUTTING_DOWN = _row(421, "3.2", "Service shutting down, try again soon", "the relay is being stopped (RFC 5321 §3.8)")
PAUSED = _row(421, "3.2", "Not taking mail now, try again later", "an operator has paused the intake")
BROKEN = _row(421, "3.0", "Local trouble, closing, try again later", "a fault of ours during a session; nothing was kept")
OVERLOADED = _row(421, "3.2", "Cannot take mail now, try again soon", "event loop lag, memory, open files or a sick spool; passes by itself")
MADE_WAY = _row(421, "3.2", "Idle while others wait, closing, try again soon", "limits.connections: the idlest session, when a newcomer finds no free place")
TIMED_OUT = _row(421, "4.2", "Waited too long, closing", "no command (RFC 5321 §4.5.3.2.7), data slower than limits.min_bytes_per_second over limits.data_seconds, or one mail's data longer than limits.transfer_seconds")
SESSION_OVER = _row(421, "4.2", "Session lasted too long, closing", "limits.session_seconds between transactions")
TOO_MANY_SESSIONS = _row(421, "7.0", "Too many sessions, try again later", "limits.connections, the last tenth of which is kept for peers that delivered mail lately; no session was idle enough to make way")
TOO_MANY_FROM_YOU = _row(421, "7.0", "Too many sessions from your address, try again later", "limits.connections_per_address or connections_per_network")
TOO_MANY_ERRORS = _row(421, "7.0", "Too many errors, closing", "limits.errors in one session")
TOO_MUCH_IDLING = _row(421, "7.0", "Too many commands without mail, closing", "limits.idle_commands: NOOP, RSET, VRFY, HELO and the like")
TOO_MANY_UNKNOWN = _row(421, "7.0", "Too many unknown recipients, closing", "limits.unknown_recipients_per_minute from one address")
ENOUGH_MESSAGES = _row(421, "7.0", "Enough mail for one session, please reconnect", "limits.messages_per_session")
ENDLESS_LINE = _row(421, "7.0", "A line without end, closing", "a line over limits.line_bytes went on past twice max_message_bytes")

# -- try again
TOO_MANY_MESSAGES = _row(450, "7.1", "Too many messages from your address, try again later", "limits.messages_per_minute from one address")
TOO_MANY_FOR_A_MINUTE = _row(451, "7.1", "Too many recipients from your address this minute, try again later", "limits.recipients_per_minute from one address, on mx")
LOCAL_ERROR = _row(451, "3.0", "Local trouble, try again later", "anything unexpected here; nothing was kept")
NOT_STORED = _row(451, "3.0", "Could not store this mail, try again later", "a write or sync failed; nothing was kept, and new sessions wait until one succeeds")
TOO_SLOW = _row(451, "4.5", "Storing took too long, try again later", "limits.commit_seconds; a mail stored after all is recognised when it comes again")
NO_ROOM = _row(452, "3.1", "No room for this mail now, try again later", "disk, inodes or a quota (RFC 1870 §6.1)")
TOO_MANY_RECIPIENTS = _row(452, "5.3", "Too many recipients, send the rest in another transaction", "limits.recipients (RFC 5321 §4.5.3.1.10, RFC 9422)")
TLS_UNAVAILABLE = _row(454, "7.0", "TLS not available now", "STARTTLS while no certificate could be read (RFC 3207 §4)")
TOO_MANY_LOGINS = _row(454, "7.0", "Too many failed logins, try again later", "limits.failed_logins: AUTH of a login that failed too often from this network (RFC 4954 §6); the password was not looked at")
AUTH_UNAVAILABLE = _row(454, "7.0", "Cannot check passwords now", "the users file cannot be read (RFC 4954 §6)")

SPF_DEFERRED = _row(451, "7.23", "Not authorised by SPF, try again later", 'a policy with spf.fail or spf.softfail = "defer" (RFC 7372 §3.2)')
SPF_UNKNOWN_DEFERRED = _row(451, "7.24", "SPF could not be checked, try again later", 'a policy with spf.temperror or spf.permerror = "defer" (RFC 7372 §3.2)')
DKIM_DEFERRED = _row(451, "7.20", "No passing DKIM signature, try again later", 'a policy with dkim.fail = "defer" (RFC 7372 §3.1)')
DMARC_DEFERRED = _row(451, "7.1", "Against the DMARC policy of the author's domain, try again later", 'a policy with dmarc.reject or dmarc.quarantine = "defer"')
ARC_DEFERRED = _row(451, "7.29", "ARC validation failed, try again later", 'a policy with arc.fail = "defer" (RFC 8617 §5.2.2)')
VIRUS_DEFERRED = _row(451, "7.1", "A virus was found in this mail, try again later", 'a policy with virus = "defer"')
SPAM_DEFERRED = _row(451, "7.1", "Taken for spam, try again later", 'a policy with spam = "defer"')
NOT_SCANNED_DEFERRED = _row(451, "3.0", "This mail could not be scanned, try again later", 'scan.on_unavailable = "defer", or a policy with scan.unavailable = "defer"')
SEVERAL_DEFERRED = _row(451, "7.26", "Several authentication checks failed, try again later", 'a policy by which several of spf, dkim, dmarc, arc and iprev refuse, "defer" the strictest of them (RFC 7372 §4)')
IPREV_DEFERRED = _row(451, "7.25", "Reverse DNS validation failed, try again later", 'a policy with iprev.fail = "defer" (RFC 7372 §3.3)')
LISTED_DEFERRED = _row(451, "7.1", "Your address is on a list of senders not taken here, try again later", 'a policy with listed = "defer" (identity.dnsbl)')
SENDER_DEFERRED = _row(451, "7.1", "Sender not accepted now, try again later", 'a policy with list.<name> = "defer", or the lists of a route')

# -- no
UNKNOWN_COMMAND = _row(500, "5.1", "Command not recognised", "no such verb")
BAD_LINE = _row(500, "5.2", "Command line not understood", "a bare LF or CR, NUL or binary in a command; another protocol's words also close the session")
LINE_TOO_LONG = _row(500, "5.2", "Command line too long", "RFC 5321 §4.5.3.1.4 and what the extensions add")
AUTH_TOO_LONG = _row(500, "5.6", "Authentication line too long", "over 12,288 octets (RFC 4954 §4)")
BAD_ARGUMENT = _row(501, "5.4", "Argument or parameter not understood", "syntax of a command's argument or of a parameter's value")
BAD_SENDER = _row(501, "1.7", "Bad sender address syntax", "MAIL: the argument is no path (RFC 5321 §4.1.2)")
BAD_RECIPIENT = _row(501, "1.3", "Bad recipient address syntax", "RCPT: the argument is no path (RFC 5321 §4.1.2)")
BAD_BASE64 = _row(501, "5.2", "Not base64", "AUTH: an answer that cannot be decoded (RFC 4954 §4)")
AUTH_CANCELLED = _row(501, "7.0", "Authentication cancelled", 'AUTH answered with "*" (RFC 4954 §4)')
NOT_HERE = _row(502, "5.1", "Command not offered here", "EXPN, ETRN, TURN, AUTH or STARTTLS where not announced")
HELLO_FIRST = _row(503, "5.1", "Say {hello} first", "MAIL before HELO or EHLO (RFC 5321 §4.1.4)")
MAIL_FIRST = _row(503, "5.1", "MAIL first", "RCPT, DATA or BDAT before MAIL")
RECIPIENT_FIRST = _row(503, "5.1", "RCPT first", "DATA or BDAT before RCPT")
MAIL_TWICE = _row(503, "5.1", "MAIL was already given; RSET to begin anew", "a second MAIL")
NOT_NOW = _row(503, "5.1", "Not at this point", "DATA among BDAT, STARTTLS under TLS, AUTH twice, a chunk after a refused one")
MECHANISM_UNKNOWN = _row(504, "5.4", "Mechanism not offered", "AUTH with anything but PLAIN and LOGIN")
TLS_FIRST = _row(530, "7.0", "Say STARTTLS first", 'a listener with tls = "required" (RFC 3207 §4)')
AUTH_FIRST = _row(530, "7.0", "Authentication required", 'a listener with auth = "required" (RFC 4954 §6)')
BAD_CREDENTIALS = _row(535, "7.8", "Login or password wrong", "AUTH (RFC 4954 §6)")
AUTH_NEEDS_TLS = _row(538, "7.11", "Say STARTTLS first", "AUTH in clear (RFC 4954 §4)")
UNKNOWN_RECIPIENT = _row(550, "1.1", "No such address here", "RCPT in a domain of ours that no route matches")
NO_RELAYING = _row(550, "7.1", "Not our domain; we do not relay", "RCPT in a domain that no route names")
BARE_LINE_END = _row(550, "5.2", "Bare CR or LF in the message", "RFC 5321 §2.3.8, §4.1.1.4: bare CR, what looks like smuggling, or a bare LF where the listener refuses it")
XCLIENT_DENIED = _row(550, "7.0", "Not for you", "XCLIENT from a host that is not listed")
TOO_BIG = _row(552, "3.4", "Message too big; at most {octets} octets", "SIZE or the data over max_message_bytes (RFC 1870 §6); past twice that the session closes")
NEEDS_SMTPUTF8 = _row(553, "6.7", "Non-ASCII address without SMTPUTF8", "RFC 6531 §3.5")
ACCESS_DENIED = _row(554, "7.1", "Access denied", "the peer is outside the listener's allow")
EARLY_TALKER = _row(554, "5.0", "Spoke before the greeting", "RFC 5321 §3.1, with limits.early_talker_seconds")
NO_RECIPIENTS = _row(554, "5.1", "No valid recipients", "DATA or BDAT after every RCPT was refused (RFC 5321 §3.3)")
LONG_LINE = _row(554, "3.4", "A line is too long", "a line of the message over limits.line_bytes")
TYPE_REFUSED = _row(554, "6.1", "A file of a type that is not taken here; please send it in another form", 'every route of the transaction refuses the file type (disallowed_types = "reject"); over LMTP that of this recipient (RFC 3463, X.6.1)')
CARD_REFUSED = _row(550, "7.1", "The mail has a payment card number, which is not taken here; please send it without", 'every route of the transaction refuses card numbers (sensitive = { card = "reject" }); over LMTP that of this recipient')
LOOP = _row(554, "4.6", "Too many hops: this mail goes round in circles", "limits.hops Received lines (RFC 5321 §6.3)")
SPF_REFUSED = _row(550, "7.23", "Not authorised by SPF", 'a policy with spf.fail or spf.softfail = "reject" (RFC 7372 §3.2)')
SPF_UNKNOWN_REFUSED = _row(550, "7.24", "SPF could not be checked", 'a policy with spf.temperror or spf.permerror = "reject" (RFC 7372 §3.2)')
DKIM_REFUSED = _row(550, "7.20", "No passing DKIM signature", 'a policy with dkim.fail = "reject" (RFC 7372 §3.1)')
DMARC_REFUSED = _row(550, "7.1", "Against the DMARC policy of the author's domain", 'a policy with dmarc.reject or dmarc.quarantine = "reject"')
ARC_REFUSED = _row(550, "7.29", "ARC validation failed", 'a policy with arc.fail = "reject" (RFC 8617 §5.2.2)')
VIRUS_REFUSED = _row(554, "7.1", "A virus was found in this mail", 'a policy with virus = "reject" (RFC 3463, X.7.1)')
SPAM_REFUSED = _row(554, "7.1", "Taken for spam", 'a policy with spam = "reject" (RFC 3463, X.7.1)')
NOT_SCANNED_REFUSED = _row(554, "3.0", "This mail could not be scanned", 'a policy with scan.unavailable = "reject"')
SEVERAL_REFUSED = _row(550, "7.26", "Several authentication checks failed", "a policy by which several of spf, dkim, dmarc, arc and iprev refuse (RFC 7372 §4)")
IPREV_REFUSED = _row(550, "7.25", "Reverse DNS validation failed", 'a policy with iprev.fail = "reject" (RFC 7372 §3.3)')
LISTED_REFUSED = _row(550, "7.1", "Your address is on a list of senders not taken here", 'a policy with listed = "reject" (identity.dnsbl); the log names the list')
SENDER_REFUSED = _row(550, "7.1", "Sender not accepted here", 'a policy with list.<name> = "reject", or the lists of a route')
PARAMETER_UNKNOWN = _row(555, "5.4", "Parameter not recognised or not offered", "MAIL or RCPT (RFC 5321 §4.1.1.11); BODY=BINARYMIME too")
# fmt: on

ROWS: tuple[Row, ...] = tuple(_rows)
# Rows as octets, by identity: most replies are rows as they stand.
_TEXTS = frozenset(row.reply for row in ROWS)
#: Rows with words in braces; no two of them have the same code and status.
_SHAPES = {
    (row.reply.code, row.reply.status): row.reply
    for row in ROWS
    if "{" in row.reply.text and row.reply.code >= 400
}
_wire = {id(row.reply): f"{row.reply}\r\n".encode() for row in ROWS}


def fill(reply: Reply, **words: object) -> Reply:
    """The reply with its words in braces filled in."""
    return Reply(reply.code, reply.status, reply.text.format(**words))


def name_refusal(reply: Reply) -> str:
    """The reply as its row of the table has it, so that replies of one row have one name; of a reply that is
    in no row, because a handler of the operator's gave it, the code alone.
    """
    if reply in _TEXTS:
        return str(reply)
    shaped = _SHAPES.get((reply.code, reply.status))
    return str(shaped) if shaped is not None else f"{reply.code} (handler)"


def build_reply(reply: Reply) -> bytes:
    """The reply as it goes over the wire, one line."""
    return _wire.get(id(reply)) or f"{reply}\r\n".encode()


def add_reference(octets: bytes, reference: str) -> bytes:
    """A reply as it goes over the wire, with an id of ours at its end. The id is left off where it finds
    no room in a reply line: only the operator's own handlers write so long ones.
    """
    named = b"%b [%b]\r\n" % (octets[:-2], reference.encode())
    return named if len(named) <= _LINE_OCTETS else octets


def build_lines(code: int, lines: tuple[str, ...]) -> bytes:
    """A reply of several lines without enhanced codes, as EHLO has it (RFC 5321 §4.2.1)."""
    last = len(lines) - 1
    return "".join(f"{code}{' ' if at == last else '-'}{line}\r\n" for at, line in enumerate(lines)).encode()


def build_replies_document() -> str:
    """The text of `docs/replies.md`."""
    head = (
        "# Replies\n\n"
        "Everything the relay says over SMTP and LMTP, made from `relay/replies.py` by `make docs`.\n"
        "Words in braces are filled in. Every 5yz reply ends with our transaction id in square brackets, as it stands in the log.\n\n"
        "| reply | text | said when |\n|---|---|---|\n"
    )
    lines = (
        f"| {row.reply.code} {row.reply.enhanced} | {row.reply.text} | {row.when} |".replace("  |", " |")
        for row in ROWS
    )
    return head + "\n".join(lines) + "\n"

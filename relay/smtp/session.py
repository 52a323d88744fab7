"""A session: everything that a peer has said so far, and the answer to its next command.

Owns the order of commands (RFC 5321 §4.1.4). `peer` knows who the peer is, `budget` what it may still cause.
Never touches a socket, a timer or a thread: a command that needs one is answered with an action, which
`protocol` carries out. Follows RFC 5321, 2920, 3030, 3207, 4954, 2033 (LMTP) and Postfix's XCLIENT.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from relay import replies, telemetry
from relay.envelope import SpoolId
from relay.logins.users import Credentials
from relay.smtp.acceptance import log_end
from relay.smtp.actions import Answer, AskHandlers, Delayed, Hangup, StartChunk, StartData
from relay.smtp.auth import Challenge
from relay.smtp.budget import Budget
from relay.smtp.data import parse_bdat
from relay.smtp.extensions import Extensions, build_hello, build_help, decide_extensions
from relay.smtp.foreign import CONTROLS, DIRTY, is_binary, is_foreign
from relay.smtp.frontends import take_xclient, take_xforward
from relay.smtp.peer import PeerState, read_name
from relay.smtp.securing import take_auth, take_starttls
from relay.smtp.settings import ListenerSettings
from relay.smtp.shared import Shared
from relay.smtp.transaction import Transaction, decide_sender
from relay.vocabulary import Reply

# RFC 5321 §4.5.3.1.4: 512; SIZE, SMTPUTF8, DSN and AUTH add some 700; long VERP paths are read too.
COMMAND_LINE = 4_096
_START_DATA = StartData()
_BYE = Hangup(replies.BYE)
_ASK_MAIL = AskHandlers("MAIL")
_ASK_RCPT = AskHandlers("RCPT")
_BEFORE_TLS = frozenset({b"EHLO", b"HELO", b"LHLO", b"NOOP", b"RSET", b"QUIT", b"STARTTLS", b"HELP"})


class Session:
    """One session, as far as it has come."""

    __slots__ = (
        "_budget", "_dialog", "_reference", "_shared", "peer_state", "said", "settings", "transaction",
    )  # fmt: skip

    def __init__(
        self, *, settings: ListenerSettings, shared: Shared, address: str, port: int, tls: str | None = None,
        front_end: str = "",
    ) -> None:  # fmt: skip
        self.settings = settings
        self.peer_state = PeerState(
            settings=settings, address=address, port=port, tls=tls, front_end=front_end
        )
        self.transaction: Transaction | None = None
        self._shared = shared
        self._reference: SpoolId | None = None
        #: The function that takes the next line in place of a command (AUTH).
        self._dialog: Callable[[bytes], Reply | Credentials | Challenge] | None = None
        self._budget = Budget(settings.limits)
        #: The command that is answered, as far as it may be told: MAIL and RCPT whole, of others the verb.
        self.said = b""

    @property
    def reference(self) -> SpoolId:
        """The id that refusals carry: that of the transaction, or outside of one that of the session."""
        if self.transaction is not None:
            return self.transaction.spool_id
        if self._reference is None:
            self._reference = self._shared.new_id()
        return self._reference

    def drop(self, *, now: float) -> None:
        """Forget the transaction. One whose recipients were all refused has ended by this, and is logged."""
        transaction, self.transaction = self.transaction, None
        if transaction is not None and transaction.refusal is not None and not transaction.forward_paths:
            peer = self.peer_state.peer(smtputf8=transaction.parameters.smtputf8)
            log_end(transaction, peer, transaction.deferral or transaction.refusal, now=now)
        self.peer_state.forwarded = None

    @property
    def in_dialog(self) -> bool:
        """Returns whether the next line answers a challenge of AUTH, and is no command."""
        return self._dialog is not None

    # -- one line in, one answer out -----------------------------------------------------------------------

    def command(self, line: bytes, *, now: float) -> Answer:
        """The answer to a command line without its line end; `now` is on the event loop's clock."""
        if self._dialog is not None:
            dialog, self._dialog = self._dialog, None
            return self.counted(self._exchange(dialog(line)))
        plain = line.replace(b"\t", b" ") if b"\t" in line and self.settings.lenient else line
        verb, _, argument = plain.partition(b" ")
        verb = verb.upper()
        handler = self._COMMANDS.get(verb)
        if handler is None:
            self.said = b""  # it may be a password
            return self._unknown_verb(line)
        # Of other commands the argument may be a secret.
        self.said = line if verb in DIRTY else verb
        if len(line) > COMMAND_LINE and handler is not self._COMMANDS[b"AUTH"]:
            return self.counted(replies.LINE_TOO_LONG)
        if line.translate(None, CONTROLS) != line:
            return self.counted(DIRTY.get(verb, replies.BAD_LINE))
        if self.settings.tls_first and self.peer_state.tls is None and verb not in _BEFORE_TLS:
            return self.counted(replies.TLS_FIRST)
        answer = handler(self, argument.strip(b" "), now)
        if isinstance(answer, Reply):
            return answer if answer.code < 400 else self.counted(answer)
        return self.counted(answer) if isinstance(answer, Delayed) else answer

    def counted(self, answer: Answer) -> Answer:
        """The answer, counted where it is a refusal. Returns the end of the session when it was one
        refusal too many.
        """
        refusal = answer.reply if isinstance(answer, Delayed) else answer
        if isinstance(refusal, Reply) and refusal.code >= 500:
            told = self.transaction is not None and refusal is self.transaction.refusal
            again = not self._budget.count_error() or told
            peer, said = self.peer_state.address, self.said.decode("utf-8", "replace")
            telemetry.command_refused(
                peer=peer, reply=refusal, reference=self.reference, again=again, said=said
            )
            if self._budget.overdrawn:
                return Hangup(replies.TOO_MANY_ERRORS)
        elif isinstance(refusal, Reply) and refusal.code > 421 and self.said[:4].upper() == b"MAIL":
            telemetry.sender_deferred(peer=self.peer_state.address, reply=refusal)
        return answer

    def _idled(self, answer: Answer) -> Answer:
        """The answer to a command that brings no mail, counted. The budget for such commands is renewed
        with each mail.
        """
        return answer if self._budget.count_idle() else Hangup(replies.TOO_MUCH_IDLING)

    def bare(self, line: bytes) -> Answer:
        """The answer to a line that ends in LF alone (RFC 5321 §2.3.8), given without its line end."""
        return Hangup(replies.BAD_LINE) if is_foreign(line) else self.counted(replies.BAD_LINE)

    def front(self, front: bytes) -> Hangup | None:
        """The answer to the beginning of a line that has no end yet. Returns None unless the line is of
        another protocol.
        """
        return Hangup(replies.BAD_LINE) if self._dialog is None and is_binary(front) else None

    def _unknown_verb(self, line: bytes) -> Answer:
        """The answer to a line that begins with no command. On another protocol, and on binary, the
        session hangs up: the octets that follow could be read as commands (RFC 5321 §7.8).
        """
        if is_foreign(line):
            return Hangup(replies.BAD_LINE)
        return self.counted(replies.UNKNOWN_COMMAND if line.strip() else replies.BAD_LINE)

    # -- who is there --------------------------------------------------------------------------------------

    def _hello(self, argument: bytes, now: float, *, extended: bool) -> Answer:
        if (name := read_name(argument, legacy=self.settings.legacy)) is None:
            return replies.BAD_ARGUMENT
        self.peer_state.greets(name, extended=extended)
        self.drop(now=now)  # RFC 5321 §4.1.4: EHLO does what RSET does
        return self._idled(build_hello(self.settings, self._offer) if extended else self.settings.hello)

    @property
    def _offer(self) -> Extensions:
        peer_state = self.peer_state
        return decide_extensions(
            self.settings,
            secured=peer_state.tls is not None,
            authenticated=peer_state.authenticated is not None,
            address=peer_state.address,
        )

    def _helo(self, argument: bytes, now: float) -> Answer:
        return replies.UNKNOWN_COMMAND if self.settings.lmtp else self._hello(argument, now, extended=False)

    def _ehlo(self, argument: bytes, now: float) -> Answer:
        # RFC 2033 §4.1: an LMTP server must not take HELO or EHLO.
        return replies.UNKNOWN_COMMAND if self.settings.lmtp else self._hello(argument, now, extended=True)

    def _lhlo(self, argument: bytes, now: float) -> Answer:
        return self._hello(argument, now, extended=True) if self.settings.lmtp else replies.UNKNOWN_COMMAND

    def _starttls(self, argument: bytes, _now: float) -> Answer:
        return take_starttls(argument, self.settings, self.peer_state, within=self.transaction is not None)

    def secured(self, tls: str, *, certificate: str | None) -> None:
        """Note that TLS is up, and forget everything said before it (RFC 3207 §4.2)."""
        self.peer_state.secured(tls, certificate=certificate)
        self.transaction = None
        self._dialog = None

    def _xclient(self, argument: bytes, _now: float) -> Answer:
        return take_xclient(argument, self.settings, self.peer_state, within=self.transaction is not None)

    def _xforward(self, argument: bytes, _now: float) -> Answer:
        return take_xforward(argument, self.settings, self.peer_state, within=self.transaction is not None)

    # -- AUTH (RFC 4954) -----------------------------------------------------------------------------------

    def _auth(self, argument: bytes, _now: float) -> Answer:
        within = self.transaction is not None
        return self._exchange(take_auth(argument, self.settings, self.peer_state, within=within))

    def _exchange(self, step: Reply | Credentials | Challenge) -> Answer:
        if isinstance(step, Challenge):
            self._dialog = step.answer
            return step.line
        return step

    def logged_in(self, login: str, *, good: bool | None) -> Answer:
        """The answer to a login whose password was looked at: `good`, or not. None: it was not looked at,
        because too many have failed.
        """
        if good:
            self.peer_state.logs_in(login)
            return replies.AUTH_OK
        telemetry.login_refused(peer=self.peer_state.address, login=login, unseen=good is None)
        if not self._budget.count_login():
            return Hangup(replies.TOO_MANY_ERRORS)
        return replies.TOO_MANY_LOGINS if good is None else self.counted(replies.BAD_CREDENTIALS)

    # -- mail ----------------------------------------------------------------------------------------------

    def _mail(self, argument: bytes, now: float) -> Answer:
        settings, peer_state = self.settings, self.peer_state
        if peer_state.helo is None:
            return replies.fill(replies.HELLO_FIRST, hello="LHLO" if settings.lmtp else "EHLO")
        if settings.listener.auth == "required" and peer_state.authenticated is None:
            return replies.AUTH_FIRST
        if self.transaction is not None:
            return replies.MAIL_TWICE
        if self._budget.messages >= settings.limits.messages_per_session:
            return Hangup(replies.ENOUGH_MESSAGES)
        told = decide_sender(settings, argument, authenticated=peer_state.authenticated is not None)
        if isinstance(told, Reply):
            return told
        path, parameters = told
        if self._shared.paused():
            return Hangup(replies.PAUSED)
        may_send, limits = self._shared.limiter.may_send, settings.limits
        if not may_send(peer_state.address, limits, trusted=settings.trusted, now=now):
            return replies.TOO_MANY_MESSAGES
        if not self._shared.room(parameters.size or 0):
            return replies.NO_ROOM
        self.transaction = Transaction(
            settings=settings,
            spool_id=self._shared.new_id(),
            reverse_path=path.address or None,
            parameters=parameters,
            options=path.parameters,
            started_at=now,
        )
        if path.sloppy:
            self.transaction.repairs.add("path")
        hooks = settings.hooks
        return _ASK_MAIL if hooks is not None and hooks.calls("MAIL") else replies.SENDER_OK

    def _rcpt(self, argument: bytes, now: float) -> Answer:
        transaction = self.transaction
        if transaction is None:
            return replies.MAIL_FIRST
        if transaction.chunked:
            return replies.NOT_NOW
        reply, address = transaction.add_recipient(argument)
        if reply.code < 400:
            settings, may_name = self.settings, self._shared.limiter.may_name
            if may_name(self.peer_state.address, settings.limits, trusted=settings.trusted, now=now):
                hooks = settings.hooks
                return _ASK_RCPT if hooks is not None and hooks.calls("RCPT") else reply
            transaction.forward_paths.pop()
            reply = replies.TOO_MANY_FOR_A_MINUTE
        self._note_refusal(transaction, reply, address)
        if reply is not replies.UNKNOWN_RECIPIENT:
            return reply
        transaction.guesses += 1
        seconds = self._budget.count_guess()
        settings, may_guess = self.settings, self._shared.limiter.may_guess
        if not may_guess(self.peer_state.address, settings.limits, trusted=settings.trusted, now=now):
            return Hangup(replies.TOO_MANY_UNKNOWN)
        return Delayed(reply, seconds) if seconds else reply

    def asked(self, command: str, refusal: Reply | None) -> Answer:
        """The answer to a MAIL or RCPT that is fine by us, once handlers were asked; `refusal` is theirs."""
        transaction = self.transaction
        assert transaction is not None
        if refusal is None:
            return replies.SENDER_OK if command == "MAIL" else replies.RECIPIENT_OK
        if command == "RCPT":
            self._note_refusal(transaction, refusal, transaction.forward_paths.pop().address)
            answer = self.counted(refusal)
        else:
            answer = self.counted(refusal)
            # The reply carries the id under which the handler's refusal is logged.
            self._reference, self.transaction = transaction.spool_id, None
        return Hangup(refusal) if refusal.code == 421 else answer

    def _note_refusal(self, transaction: Transaction, reply: Reply, address: str) -> None:
        """Note that a recipient was refused, and log it."""
        again = not self._budget.count_recipient()
        said = self.said.decode("utf-8", "replace")
        transaction.refuse(reply, address, said=said, peer=self.peer_state.address, again=again)

    def _ready(self) -> Reply | None:
        """The reply that says why no data can come now. Returns None when data can come."""
        transaction = self.transaction
        if transaction is None:
            return replies.MAIL_FIRST
        if not transaction.forward_paths:
            no = replies.NO_RECIPIENTS if transaction.refusal else replies.RECIPIENT_FIRST
            return transaction.deferral or no
        return None

    def _data(self, argument: bytes, _now: float) -> Answer:
        if argument:
            return replies.BAD_ARGUMENT
        refusal = self._ready()
        if refusal is not None:
            return refusal
        assert self.transaction is not None
        if self.transaction.chunked:
            return replies.NOT_NOW
        return _START_DATA

    def _bdat(self, argument: bytes, _now: float) -> Answer:
        told = parse_bdat(argument)
        if told is None:
            # The octets that follow cannot be told from commands (RFC 3030 §2).
            return Hangup(replies.BAD_ARGUMENT)
        size, last = told
        if size > 2 * self.settings.max_bytes:
            return Hangup(replies.fill(replies.TOO_BIG, octets=self.settings.max_bytes))
        refusal = self._ready()
        transaction = self.transaction
        if refusal is None and transaction is not None:
            if transaction.failed:
                refusal = replies.NOT_NOW
            transaction.chunked = True
        return StartChunk(size, last, refusal)

    def finished(self, *, accepted: bool) -> None:
        """Note that the transaction has ended with its reply.

        Guesses are counted by address, too, and an accepted mail pays for one of its own: a peer that tries
        out names is stopped, however much it sends along.
        """
        transaction, self.transaction = self.transaction, None
        self.peer_state.forwarded = None
        self._budget.count_mail(accepted=accepted)
        if accepted and transaction is not None and transaction.guesses:
            self._shared.limiter.forgive_guess(self.peer_state.address)

    # -- the rest ------------------------------------------------------------------------------------------

    def _rset(self, argument: bytes, now: float) -> Answer:
        if argument:
            return replies.BAD_ARGUMENT
        self.drop(now=now)
        return self._idled(replies.OK)

    def _noop(self, _argument: bytes, _now: float) -> Answer:
        return self._idled(replies.OK)

    def _quit(self, argument: bytes, _now: float) -> Answer:
        return replies.BAD_ARGUMENT if argument else _BYE

    def _vrfy(self, argument: bytes, _now: float) -> Answer:
        return self._idled(replies.CANNOT_VERIFY if argument else replies.BAD_ARGUMENT)

    def _help(self, _argument: bytes, _now: float) -> Answer:
        plain = self.peer_state.helo is not None and not self.peer_state.extended
        return self._idled(build_help(self.settings, self._offer, plain=plain))

    def _not_here(self, _argument: bytes, _now: float) -> Answer:
        return replies.NOT_HERE

    _COMMANDS: ClassVar[Mapping[bytes, Callable[[Session, bytes, float], Answer]]] = {
        b"HELO": _helo, b"EHLO": _ehlo, b"LHLO": _lhlo, b"STARTTLS": _starttls, b"XCLIENT": _xclient,
        b"XFORWARD": _xforward, b"AUTH": _auth, b"MAIL": _mail, b"RCPT": _rcpt, b"DATA": _data, b"BDAT": _bdat, b"RSET": _rset,
        b"NOOP": _noop, b"QUIT": _quit, b"VRFY": _vrfy, b"HELP": _help, b"EXPN": _not_here, b"ETRN": _not_here,
        b"TURN": _not_here, b"BURL": _not_here,
    }  # fmt: skip

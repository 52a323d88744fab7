"""The errors of the relay, and what each means for a mail.

    RelayError
    ├── ConfigError            an operator's mistake: the key, the value, what would be right
    ├── SpoolError             the spool could not do what was asked
    │   ├── SpoolFullError     no room: disk, inodes or a quota           -> 452 4.3.1
    │   ├── SpoolSickError     a write or sync failed                     -> 451 4.3.0, then 421 4.3.2
    │   │   └── SpoolDamagedError  the database is none, or none any more  -> the same
    │   ├── SpoolUnfitError    a ConfigError too: data_dir is not as it must be -> a person mends it
    │   │   └── SpoolOlderError    made by an older relay                -> restart the daemon
    │   ├── SpoolBusyError     another deliverer has this spool         -> start later
    │   ├── SpoolCorruptError  a record does not hash to what it should   -> set aside, alarm
    │   └── LeaseLostError     the entry is no longer ours to change      -> drop the outcome
    ├── NotUnderstoodError     a mail defeats the relay itself    -> the rung `original`
    ├── NotYetError            no worker can read a mail now      -> waits for its turn, no attempt
    └── RemoteError            S3 or Connect answered, or failed to       -> by its FailureClass

Owns the tree and the classes of failure (docs/flow.md, "Delivery"). Never does I/O. Foreign errors become
these at the edges (floor 2) and nowhere else; what no edge recognises is temporary.
"""

from __future__ import annotations

from enum import StrEnum


class RelayError(Exception):
    """An error that the relay itself raises."""


class ConfigError(RelayError):
    """A mistake of the operator, in sentences that can be printed as they are."""

    def __init__(self, *sentences: str) -> None:
        super().__init__("\n".join(sentences))
        #: One sentence a mistake: the key, the value, what would be right.
        self.sentences: tuple[str, ...] = sentences


class SpoolError(RelayError):
    """The spool could not do a step; no step is left half done."""


class SpoolFullError(SpoolError):
    """The spool has no room for a mail: disk space, inodes or a quota."""


class SpoolSickError(SpoolError):
    """A write or a sync failed: the mail counts as not stored."""


class SpoolDamagedError(SpoolSickError):
    """The database cannot be read: the file is something else, was cut short, or is corrupt."""


class SpoolUnfitError(ConfigError, SpoolError):
    """The spool can be made fit only by an operator: wrong owner, mode or kind, damaged, or not ours."""


class SpoolOlderError(SpoolUnfitError):
    """The spool was made by an older relay; only the daemon brings it up to date, when it starts."""


class SpoolBusyError(SpoolError):
    """The spool has a deliverer already, in another process."""


class SpoolCorruptError(SpoolError):
    """The stored octets of a mail do not hash to what was accepted."""


class LeaseLostError(SpoolError):
    """The lease of an entry is over; another runner, or an operator, has the entry now."""


class NotUnderstoodError(RelayError):
    """A mail could not be understood or made to fit, by a fault of the relay and not of S3 or Connect."""

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        #: A word of `contact.plan.Cause`.
        self.cause = cause
        #: For the log, never for a peer.
        self.detail = detail


class NotYetError(RelayError):
    """A mail waits for a worker that reads it; its delivery has not begun."""

    def __init__(self, detail: str, *, seconds: float | None = None) -> None:
        super().__init__(detail)
        #: The seconds after which a worker may be there; None for a mail that has its turn behind other slow
        #: mails.
        self.seconds = seconds


class FailureClass(StrEnum):
    """The class of a failed call to S3 or Connect: what it means for the entry (docs/flow.md, "Delivery")."""

    #: 5xx, time-outs, refused connections, anything unknown: defer.
    TEMPORARY = "temporary"
    #: 429: defer, and slow the pace.
    THROTTLED = "throttled"
    #: 402 without a reason: too many concurrent contacts; defer by minutes.
    CAPACITY = "capacity"
    #: 400, or 402 with an attachment reason: this payload; next rung of the ladder.
    PAYLOAD = "payload"
    #: 403, 404, no such bucket, bad credentials: hold the route, alarm, probe.
    CONFIGURATION = "configuration"
    #: 409 IdempotencyException: the token was used before, with another payload.
    CONFLICT = "conflict"


class Blame(StrEnum):
    """The place where a failed call went wrong, and so what it says about other mail."""

    #: With us: before anything was sent, or in what we know of the answer.
    OURS = "ours"
    #: With this request: the service is there, and refused it.
    REQUEST = "request"
    #: With the service, or the way to it: 5xx, time-outs, no connection, an answer that proves nothing.
    SERVICE = "service"


#: The words of `RemoteError.code` for a connection that failed, or brought no answer.
_NO_ANSWER = frozenset({"timeout", "unreachable", "tls"})


class RemoteError(RelayError):
    """S3 or Connect refused a call, or did not answer."""

    def __init__(
        self,
        *,
        service: str,
        failure: FailureClass,
        code: str,
        detail: str = "",
        named: tuple[str, ...] = (),
        reason: str = "",
        blame: Blame = Blame.OURS,
    ) -> None:
        super().__init__(f"{service}: {code}: {detail}" if detail else f"{service}: {code}")
        #: "s3" or "connect".
        self.service = service
        self.failure = failure
        #: The service's own word ("ThrottlingException"), or ours ("timeout", "unreachable"): a bounded
        #: vocabulary.
        self.code = code
        #: For the log, never for a peer.
        self.detail = detail
        #: File names that the refusal spoke of; empty when it named none.
        self.named = named
        #: The modelled reason of a 400 or 402 ("INVALID_FILE_TYPE", "TOTAL_FILE_SIZE_EXCEEDED", ...), else
        #: "".
        self.reason = reason
        self.blame = blame

    @property
    def is_cut_off(self) -> bool:
        """Returns whether no answer came at all, so that nothing shows that the service is reached."""
        return self.code in _NO_ANSWER

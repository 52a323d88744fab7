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
    └── RemoteError            S3 or Connect answered, or failed to       -> by its FailureClass

Owns the tree and the classes of failure (design §7). Never does I/O. Foreign errors become these at the
edges (floor 2) and nowhere else; what no edge recognises is temporary.
"""

from __future__ import annotations

from enum import StrEnum


class RelayError(Exception):
    """Anything that the relay itself raises."""


class ConfigError(RelayError):
    """An operator's mistake, in sentences that can be printed as they are."""

    def __init__(self, *sentences: str) -> None:
        super().__init__("\n".join(sentences))
        #: One sentence a mistake: the key, the value, what would be right.
        self.sentences: tuple[str, ...] = sentences


class SpoolError(RelayError):
    """The spool could not do what was asked; nothing was half done."""


class SpoolFullError(SpoolError):
    """There is no room for this mail: disk space, inodes or a quota."""


class SpoolSickError(SpoolError):
    """A write or a sync failed: what was to be stored must be taken as not stored."""


class SpoolDamagedError(SpoolSickError):
    """The database cannot be read as one: it is something else, or was cut short, or has rotted."""


class SpoolUnfitError(ConfigError, SpoolError):
    """A spool that only an operator can make fit for use: wrong owner, mode or kind, damaged, or not ours."""


class SpoolOlderError(SpoolUnfitError):
    """A spool of an older relay: only the daemon brings it up to date, when it starts."""


class SpoolBusyError(SpoolError):
    """Another process delivers from this spool."""


class SpoolCorruptError(SpoolError):
    """A stored mail does not hash to what was accepted."""


class LeaseLostError(SpoolError):
    """Another runner, or an operator, has the entry now."""


class NotUnderstoodError(RelayError):
    """A mail could not be understood or made to fit, by a fault of the relay and not of S3 or Connect."""

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        #: A word of `contact.plan.Cause`.
        self.cause = cause
        #: For us, never for the wire.
        self.detail = detail


class FailureClass(StrEnum):
    """What a failed call to S3 or Connect means for the entry (design §7)."""

    #: 5xx, time-outs, refused connections, anything unknown: defer.
    TEMPORARY = "temporary"
    #: 429: defer, and slow the pace; also what waits for other mail of ours, which has no pace.
    THROTTLED = "throttled"
    #: 402 without a reason: too many concurrent contacts; defer by minutes.
    CAPACITY = "capacity"
    #: 400, or 402 with an attachment reason: this payload; next rung of the ladder.
    PAYLOAD = "payload"
    #: 403, 404, no such bucket, bad credentials: hold the route, alarm, probe.
    CONFIGURATION = "configuration"
    #: IdempotencyException: the same token was used with another payload, by whomever.
    CONFLICT = "conflict"


class Blame(StrEnum):
    """Where a failed call to S3 or Connect went wrong: what it says of other mail."""

    #: Before anything was sent, or in what we know of it.
    OURS = "ours"
    #: The service is there, and has answered this request so.
    REQUEST = "request"
    #: The service, or the way to it: 5xx, time-outs, no connection, an answer that proves nothing.
    SERVICE = "service"


class RemoteError(RelayError):
    """S3 or Connect refused, or did not answer."""

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
        #: The service's own word ("ThrottlingException"), or ours ("timeout", "unreachable"): a bounded vocabulary.
        self.code = code
        #: For us, never for the wire.
        self.detail = detail
        #: File names that the refusal spoke of; empty when it named none.
        self.named = named
        #: The modelled reason of a 400 or 402 ("INVALID_FILE_TYPE", "TOTAL_FILE_SIZE_EXCEEDED", ...), else "".
        self.reason = reason
        self.blame = blame

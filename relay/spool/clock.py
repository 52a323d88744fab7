"""The spool's clock: it shows how much time has passed, whatever somebody sets the wall clock to.

Owns the rules of that clock. It showed what the wall clock showed when the spool was made, and goes on by the
time that passes: while the machine runs or sleeps, by its steady clock; over a restart of the machine, by the
wall clock, an hour at most. Ages, retention, windows, leases and due times are judged by it (docs/spool.md,
"Time"). After a step of the wall clock of more than an hour the clock is doubted, until it has stood for an
hour or a person trusts it: then nothing is given up or removed for its age. Never reads a clock: instants are
arguments, in microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

_SECOND = 1_000_000
#: A wall clock that moves by less against the steady one is slewed, not stepped (chrony and ntpd step from
#: 0.1 to 1 s on by default), or both were read one after the other.
LEAST_STEP = 2 * _SECOND
#: A clock that moves by less still stands.
_STANDS = 60 * _SECOND
#: A longer step is doubted for so long; and a machine that was off counts as off for so long at most.
HOUR = 3_600 * _SECOND
#: How a person ends a doubt.
TRUST = "if it is right now: relay resume clock"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockState:
    """The readings of a look at the spool's clock, in microseconds.

    An *offset* is by how much the wall clock is ahead of the spool's clock.
    """

    #: The start of the machine in which `base` counts.
    boot: str
    #: The spool's clock at that start.
    base: int
    #: The spool's clock at the last look, and the offset then.
    shown: int
    offset: int
    #: The offset from which the wall clock has not moved since, and since when.
    stood_offset: int
    stood_at: int
    #: The last offset that stood for an hour, or that a person trusted.
    trusted_offset: int
    #: True after a step of more than an hour.
    doubted: bool
    #: The machine was off before this instant, at this offset, and perhaps for so much longer than was
    #: counted; None if all time is accounted for.
    gap_at: int | None = None
    gap_offset: int = 0
    gap_unsure: int = 0

    @property
    def step_seconds(self) -> float:
        """The step of the wall clock that is doubted, in whole seconds; negative: back, 0.0: none.

        A clock that was set back to where it was is doubted, too, until it has stood: a step of a second.
        """
        if not is_doubted(self, offset=self.offset):
            return 0.0
        return float(round((self.offset - self.trusted_offset) / _SECOND) or 1)


def begin(*, boot: str, passed: int, wall: int) -> ClockState:
    """The clock of a new spool."""
    return ClockState(
        boot=boot,
        base=wall - passed,
        shown=wall,
        offset=0,
        stood_offset=0,
        stood_at=wall,
        trusted_offset=0,
        doubted=False,
    )


def is_same_start(state: ClockState, *, boot: str, passed: int) -> bool:
    """Compare the start of the machine with that of the last look. Returns whether the steady clock went on.

    A clock that shows less than before is that of another machine, or of another start. Without a name of the
    start that alone decides: a start that is not noticed counts too little, never too much.
    """
    return (state.boot == boot or not (state.boot and boot)) and state.base + passed >= state.shown


def begin_again(state: ClockState, *, boot: str, passed: int, wall: int, least: int = 0) -> ClockState:
    """The clock after another start of the machine, or on another machine.

    How long the machine was off is known only by the wall clock, which may have been set meanwhile, or have
    no battery. So an hour counts at most, and the rest is kept in mind (`gap_unsure`). The clock shows at
    least `least`, the latest instant that was noted after the last look.
    """
    off = wall - (state.shown + state.offset)
    shown = max(state.shown + min(max(off, 0), HOUR), least)
    again = replace(
        state,
        boot=boot,
        base=shown - passed,
        shown=shown,
        # Of two starts in a row with a wrong wall clock the first is the gap to be filled.
        gap_at=shown if state.gap_at is None else state.gap_at,
        gap_offset=state.offset if state.gap_at is None else state.gap_offset,
        gap_unsure=0 if state.gap_at is None else state.gap_unsure,
    )
    return look(again, passed=passed, wall=wall)


def look(state: ClockState, *, passed: int, wall: int) -> ClockState:
    """The clock after another look at the machine's clocks."""
    shown = state.base + passed
    offset = wall - shown
    stood_offset, stood_at = state.stood_offset, state.stood_at
    if abs(offset - stood_offset) > _STANDS:
        stood_offset, stood_at = offset, shown
    seen = replace(state, shown=shown, offset=offset, stood_offset=stood_offset, stood_at=stood_at)
    if shown - stood_at >= HOUR:
        return _trust(seen)
    unsure = seen.gap_unsure if seen.gap_at is None else max(offset - seen.gap_offset, 0)
    return replace(seen, doubted=is_doubted(seen, offset=offset), gap_unsure=unsure)


def is_doubted(state: ClockState, *, offset: int) -> bool:
    """Compare the offset with the trusted one. Returns whether nothing may be given up or removed for its
    age.
    """
    return state.doubted or abs(offset - state.trusted_offset) > HOUR


def trust(state: ClockState, *, passed: int, wall: int) -> ClockState:
    """The clock after a person has said that the wall clock is right."""
    return _trust(look(state, passed=passed, wall=wall))


def _trust(state: ClockState) -> ClockState:
    unsure = state.gap_unsure if state.gap_at is None else max(state.offset - state.gap_offset, 0)
    return replace(state, trusted_offset=state.offset, doubted=False, gap_at=None, gap_unsure=unsure)


def tell_step(seconds: float) -> str:
    """The sentence about a step that is doubted, for a person; `seconds` is negative when back."""
    hours = abs(seconds) / 3_600
    if hours < 1:
        return (
            "the wall clock was set by more than an hour, and back: no mail is given up or removed for its age "
            "until it has stood for an hour"
        )
    span = f"{hours / 24:,.1f} days" if hours >= 48 else f"{hours:.1f} hours"
    where = "back" if seconds < 0 else "forward"
    off = "" if seconds < 0 else ", or the machine was off for so long"
    return (
        f"the wall clock was set {where} by {span}{off}: no mail is given up or removed for its age until it has "
        "stood for an hour"
    )

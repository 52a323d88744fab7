"""The alarms about what any receiver may meet, raised by the supervisor, which alone hears of every receiver:
no free place for a session, no answers of the DNS or of a scanner, no node of a fleet that delivers.

Owns when they are raised and ended. Such troubles come and go within seconds, receiver by receiver, so an
alarm is raised with the first report, and ends only when no receiver had any for a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from relay.alarms.model import Alarm
from relay.vocabulary import AlarmKind

_CALM_SECONDS = 60.0
_FULL = "all places for sessions are taken (limits.connections): the idlest make way, and some are sent away"
_FREE = "there are free places for sessions again"
#: The kinds of alarm for the services of which receivers report, by the service.
_KINDS = {
    "dns": AlarmKind.DNS_AWAY,
    "clamd": AlarmKind.SCANNER_AWAY,
    "rspamd": AlarmKind.SCANNER_AWAY,
    "deliverer": AlarmKind.DELIVERER_SILENT,
}


class CalmAlarm:
    """The state of one alarm; it ends after a calm."""

    def __init__(self, tell: Callable[[str], None], *, calm_seconds: float = _CALM_SECONDS) -> None:
        """`tell` gets the reason for which the alarm is raised, and "" when it has ended."""
        self._tell = tell
        self._calm_seconds = calm_seconds
        self._raised = False
        self._ending: asyncio.TimerHandle | None = None

    def see(self, why: str) -> None:
        """Note the reason for the alarm at this instant; "" for none."""
        if why:
            self.close()
            if not self._raised:
                self._raised = True
                self._tell(why)
        elif self._raised and self._ending is None:
            self._ending = asyncio.get_running_loop().call_later(self._calm_seconds, self._end)

    def close(self) -> None:
        """Cancel an end that is not told yet."""
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None

    def _end(self) -> None:
        self._raised, self._ending = False, None
        self._tell("")


class CalmAlarms:
    """The alarms of one supervisor: that receivers are full, and one for each service that may be away."""

    def __init__(self, tell: Callable[[Alarm], None], *, calm_seconds: float = _CALM_SECONDS) -> None:
        self._tell = tell
        self._full = CalmAlarm(self._tell_full, calm_seconds=calm_seconds)
        self._away = {
            service: CalmAlarm(partial(self._tell_away, service), calm_seconds=calm_seconds)
            for service in _KINDS
        }

    def see(self, *, full: bool, away: Iterable[Mapping[str, str]]) -> None:
        """Note whether any receiver is full, and the services that are away for each of them."""
        self._full.see(_FULL if full else "")
        reasons = {service: why for services in away for service, why in services.items()}
        for service, alarm in self._away.items():
            alarm.see(reasons.get(service, ""))

    def close(self) -> None:
        """Cancel all ends that are not told yet."""
        for alarm in (self._full, *self._away.values()):
            alarm.close()

    def _tell_full(self, why: str) -> None:
        self._tell(Alarm(kind=AlarmKind.SESSIONS_FULL, raised=bool(why), detail=why or _FREE))

    def _tell_away(self, service: str, why: str) -> None:
        kind = _KINDS[service]
        if kind is AlarmKind.DNS_AWAY:
            service = ""
            detail = f"the origin of mail cannot be checked: {why}" if why else "a DNS server answers again"
        elif kind is AlarmKind.DELIVERER_SILENT:
            service = ""
            detail = f"mail is accepted, and waits: {why}" if why else "a node of the fleet delivers again"
        else:
            detail = f"mail is not scanned by {service}: {why}" if why else f"{service} scans mail again"
        self._tell(Alarm(kind=kind, raised=bool(why), detail=detail, subject=service))

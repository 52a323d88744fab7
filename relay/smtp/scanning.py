"""The scanners as a session asks them: between its last octet and the commit, all at once.

Owns the scanners of a process: how many mails each is asked about at a time, how long it is waited for, and
that one that is away is left alone for a while. Never judges, and never refuses: `relay.policy` says what the
results mean. A fault of ours in a scan is told in the log, and the mail counts as not scanned.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from relay import telemetry
from relay.config.model import Config
from relay.config.scan import Scan, Scanner
from relay.scan.breaker import Breaker
from relay.scan.model import ScannerKind, ScanResult, ScanWord, build_scan_attributes
from relay.spool.model import RawFile, Submission

#: Octets of a mail that are read at a time.
_PIECE_BYTES = 65_536
#: The share of its time that a mail waits for a turn: so much is left for each question that a scanner which
#: does not answer is away, and not only asked too late.
_TURN_SHARE = 0.5
#: The question to a scanner: the mail, and the seconds that are left for it.
_Ask = Callable[[Submission, float], Awaitable[ScanResult]]


class AskedScanner:
    """A scanner as a receiver asks it: in turns, within a limit, behind a breaker."""

    def __init__(
        self, name: str, kind: ScannerKind, limits: Scanner, ask: _Ask, *, breaker: Breaker | None = None
    ) -> None:
        self._name = name
        self._kind = kind
        self._ask = ask
        self._turns = asyncio.Semaphore(limits.concurrency)
        self._breaker = breaker or Breaker()
        self._is_away = False
        telemetry.scanner_named(scanner=name)
        #: The most seconds that a mail waits for this scanner.
        self.seconds = limits.seconds

    async def scan(self, offered: Submission) -> ScanResult:
        """The result for a mail, within `seconds`, the wait for a turn included."""
        now = asyncio.get_running_loop().time
        begun = now()
        try:
            async with asyncio.timeout(self.seconds * _TURN_SHARE):
                await self._turns.acquire()
        except TimeoutError:
            result = self._without(f"{self._name} had no turn for it within {self.seconds * _TURN_SHARE:g} s")
        else:
            try:
                result = await self._take_turn(offered, begun + self.seconds)
            finally:
                self._turns.release()
        telemetry.mail_scanned(
            scanner=self._name,
            result=result.word,
            reason=result.reason,
            seconds=now() - begun,
            spool_id=offered.spool_id,
        )
        return result

    async def _take_turn(self, offered: Submission, ends_at: float) -> ScanResult:
        now = asyncio.get_running_loop().time
        if not self._breaker.allows(now()):
            return self._without(f"{self._name} gave no answers a moment ago, and was not asked")
        try:
            result = await self._ask(offered, ends_at - now())
        except Exception:  # noqa: BLE001 - a fault of ours in a scan is told, and is no reason to lose a mail
            telemetry.fault_caught(where="smtp.scanning", spool_id=offered.spool_id)
            return self._without("a fault of the relay")
        self._breaker.record(answered=result.answered, now=now())
        if self._breaker.is_open is not self._is_away:
            self._is_away = self._breaker.is_open
            telemetry.scanner_moved(scanner=self._name, away=self._is_away, reason=result.reason)
        return result

    def _without(self, reason: str) -> ScanResult:
        return ScanResult(kind=self._kind, word=ScanWord.UNAVAILABLE, reason=reason)


class Scanners:
    """The scanners under one configuration, at least one."""

    def __init__(self, config: Scan, scanners: tuple[AskedScanner, ...]) -> None:
        self.config = config
        self._scanners = scanners

    @property
    def seconds(self) -> float:
        """The most that the scans of one mail may take."""
        return max(each.seconds for each in self._scanners)

    async def find_results(self, offered: Submission) -> Mapping[str, str]:
        """The results of all scanners for a mail, as attributes of its contact by name."""
        return build_scan_attributes(await asyncio.gather(*(each.scan(offered) for each in self._scanners)))


def build_scanners(config: Config, earlier: Scanners | None = None) -> Scanners | None:
    """The scanners that a configuration names. Returns None where it names none.

    Those of `earlier` go on, with what they know, if their configuration is the same.
    """
    scan = config.scan
    if earlier is not None and earlier.config == scan:
        return earlier
    found = []
    if scan.clamd.address:
        ask = _build_ask_clamd(scan.clamd.address)
        found.append(AskedScanner("clamd", ScannerKind.VIRUS, scan.clamd, ask))
    if scan.rspamd.url:
        ask = _build_ask_rspamd(scan.rspamd.url)
        found.append(AskedScanner("rspamd", ScannerKind.SPAM, scan.rspamd, ask))
    return Scanners(scan, tuple(found)) if found else None


def _build_ask_clamd(address: str) -> _Ask:
    from relay.scan.clamd import scan_by_clamd  # noqa: PLC0415 - only who has a scanner needs its client

    async def ask(offered: Submission, seconds: float) -> ScanResult:
        return await scan_by_clamd(address, read_pieces(offered), seconds=seconds)

    return ask


def _build_ask_rspamd(url: str) -> _Ask:
    # aiohttp takes 20 MB of a receiver and some time: only who has an rspamd pays, and before the first mail.
    from relay.scan.rspamd import Envelope, scan_by_rspamd  # noqa: PLC0415 - see above

    async def ask(offered: Submission, seconds: float) -> ScanResult:
        peer = offered.envelope.peer
        envelope = Envelope(
            peer=peer.address,
            helo=peer.helo or "",
            reverse_path=offered.envelope.reverse_path or "",
            recipients=tuple(path.address for path in offered.envelope.forward_paths),
            queue_id=offered.spool_id,
            user=peer.login or "",
        )
        size = offered.size - offered.trace_size
        return await scan_by_rspamd(url, read_pieces(offered), size=size, envelope=envelope, seconds=seconds)

    return ask


async def read_pieces(offered: Submission) -> AsyncIterator[bytes]:
    """The octets of a mail without our own fields, piece by piece; those of a file are read in threads.

    Raises:
        SpoolSickError: the file cannot be read back.
    """
    for at in range(offered.trace_size, offered.size, _PIECE_BYTES):
        if isinstance(offered.raw, bytes):
            yield offered.raw[at : at + _PIECE_BYTES]
        else:
            yield await asyncio.to_thread(_read, offered.raw, at)


def _read(file: RawFile, at: int) -> bytes:
    with file.view() as octets:
        return bytes(octets[at : at + _PIECE_BYTES])

"""The scanners as a session asks them: between its last octet and the commit, all at once.

Owns the scanners of a process: how many mails each is asked about at a time, how long it is waited for, and
that one that is away is left alone until it answers again. Never judges, and never refuses: `relay.policy`
says what the results mean. A fault of ours in a scan is told in the log, and the mail counts as not scanned.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from relay import telemetry
from relay.absence import Absence
from relay.config.model import Config
from relay.config.scan import Clamd, Rspamd, Scan, Scanner
from relay.scan.model import ScannerKind, ScanResult, ScanWord, build_scan_attributes
from relay.spool.model import Submission

#: Octets of a mail that are read at a time.
_PIECE_BYTES = 65_536
#: The share of its time that a mail waits for a turn: so much is left for each question that a scanner which
#: does not answer is away, and not only asked too late.
_TURN_SHARE = 0.5
#: The share of its time that a mail waits for the results of its origin, before it waits for a turn.
_ORIGIN_SHARE = 0.25
#: Mails in a row without any answer, after which a scanner is away.
_FAILURES = 3
#: Seconds between two probes of a scanner that is away.
PROBE_SECONDS = 10.0
#: The mail that a scanner which is away is asked about: an answer to PING would prove no more than that it
#: listens.
_PROBE = b"From: <>\r\nSubject: Can mail be scanned again?\r\n\r\n"
#: The question to a scanner: the mail, and the seconds that are left for it.
_Ask = Callable[[Submission, float], Awaitable[ScanResult]]
#: The results of the checks of a mail's origin, once they are made.
Origin = asyncio.Future[Mapping[str, str]]
#: The question about no mail of anybody's, in so many seconds.
_Probe = Callable[[float], Awaitable[ScanResult]]


class AskedScanner:
    """A scanner as a receiver asks it: in turns, within a limit, and not while it is away."""

    def __init__(
        self,
        name: str,
        kind: ScannerKind,
        limits: Scanner,
        *,
        ask: _Ask,
        probe: _Probe,
        hears_origin: bool = False,
    ) -> None:
        """With `hears_origin` the scanner is told the results of the checks of a mail's origin."""
        #: The name of the scanner in the configuration.
        self.name = name
        self._kind = kind
        self._ask = ask
        self._probe = probe
        self._hears_origin = hears_origin
        self._turns = asyncio.Semaphore(limits.concurrency)
        self._failures = 0
        self._absence = Absence(self._is_back, every_seconds=PROBE_SECONDS, moved=self._tell_move)
        telemetry.scanner_named(scanner=name)
        #: The most seconds that a mail waits for this scanner.
        self.seconds = limits.seconds

    @property
    def away(self) -> str:
        """The reason why no mail is scanned now; "" while the scanner is asked."""
        return self._absence.why

    def retire(self) -> None:
        """Probe the scanner no longer: nobody asks it from now on."""
        self._absence.close()

    async def scan(self, offered: Submission, origin: Origin | None = None) -> ScanResult:
        """The result for a mail, within `seconds`, the waits for a turn and for the results of the checks of
        its origin included.
        """
        now = asyncio.get_running_loop().time
        begun = now()
        if self._hears_origin and origin is not None:
            await asyncio.wait({origin}, timeout=self.seconds * _ORIGIN_SHARE)
            offered = offered._replace(results=origin.result() if origin.done() else {})
        try:
            async with asyncio.timeout_at(begun + self.seconds * _TURN_SHARE):
                await self._turns.acquire()
        except TimeoutError:
            result = self._without(f"{self.name} had no turn for it within {self.seconds * _TURN_SHARE:g} s")
        else:
            try:
                result = await self._take_turn(offered, begun + self.seconds)
            finally:
                self._turns.release()
        telemetry.mail_scanned(
            scanner=self.name,
            result=result.word,
            reason=result.reason,
            seconds=now() - begun,
            spool_id=offered.spool_id,
        )
        return result

    async def _take_turn(self, offered: Submission, ends_at: float) -> ScanResult:
        now = asyncio.get_running_loop().time
        if self._absence.is_away:
            return self._without(f"{self.name} gave no answers a moment ago, and was not asked")
        try:
            result = await self._ask(offered, ends_at - now())
        except Exception:  # noqa: BLE001 - a fault of ours in a scan is told, and is no reason to lose a mail
            telemetry.fault_caught(where="smtp.scanning", spool_id=offered.spool_id)
            return self._without("a fault of the relay")
        self._note(result)
        return result

    def _note(self, result: ScanResult) -> None:
        if result.answered:
            self._failures = 0
            self._absence.note_answer()
            return
        self._failures += 1
        if self._failures >= _FAILURES:
            self._absence.begin(result.reason)

    async def _is_back(self) -> bool:
        """Ask about the mail of the probe. Returns whether the scanner answered."""
        result = await self._probe(self.seconds)
        # A small mail is no proof that it takes large ones: the next mail without an answer ends this again.
        self._failures = _FAILURES - 1
        return result.answered

    def _tell_move(self, why: str) -> None:
        telemetry.scanner_moved(scanner=self.name, why=why)

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

    @property
    def away(self) -> Mapping[str, str]:
        """The scanners that are away, and why."""
        return {each.name: each.away for each in self._scanners if each.away}

    def retire(self) -> None:
        """Probe no scanner from now on: other ones take over, or none."""
        for each in self._scanners:
            each.retire()

    async def find_results(self, offered: Submission, origin: Origin | None = None) -> Mapping[str, str]:
        """The results of all scanners for a mail, as attributes of its contact by name; `origin` will have
        those of the checks of its origin.
        """
        scans = (each.scan(offered, origin) for each in self._scanners)
        return build_scan_attributes(await asyncio.gather(*scans))


def build_scanners(config: Config, earlier: Scanners | None = None) -> Scanners | None:
    """The scanners that a configuration names. Returns None where it names none.

    Those of `earlier` go on, with what they know, if their configuration is the same.
    """
    scan = config.scan
    if earlier is not None and earlier.config == scan:
        return earlier
    if earlier is not None:
        earlier.retire()
    found = []
    if scan.clamd.address:
        found.append(_build_clamd(scan.clamd))
    if scan.rspamd.url:
        found.append(_build_rspamd(scan.rspamd))
    return Scanners(scan, tuple(found)) if found else None


def _build_clamd(clamd: Clamd) -> AskedScanner:
    from relay.scan.clamd import scan_by_clamd  # noqa: PLC0415 - only who has a scanner needs its client

    async def ask(offered: Submission, seconds: float) -> ScanResult:
        return await scan_by_clamd(clamd.address, read_pieces(offered), seconds=seconds)

    async def probe(seconds: float) -> ScanResult:
        return await scan_by_clamd(clamd.address, _read_probe(), seconds=seconds)

    return AskedScanner("clamd", ScannerKind.VIRUS, clamd, ask=ask, probe=probe)


def _build_rspamd(rspamd: Rspamd) -> AskedScanner:
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
            results=offered.results,
        )
        size = offered.size - offered.trace_size
        return await scan_by_rspamd(
            rspamd.url, read_pieces(offered), size=size, envelope=envelope, seconds=seconds
        )

    async def probe(seconds: float) -> ScanResult:
        nobody = Envelope(peer="")
        return await scan_by_rspamd(
            rspamd.url, _read_probe(), size=len(_PROBE), envelope=nobody, seconds=seconds
        )

    return AskedScanner("rspamd", ScannerKind.SPAM, rspamd, ask=ask, probe=probe, hears_origin=True)


async def _read_probe() -> AsyncIterator[bytes]:
    yield _PROBE


async def read_pieces(offered: Submission) -> AsyncIterator[bytes]:
    """The octets of a mail without our own fields, piece by piece; those of a file are read in threads.

    Raises:
        SpoolSickError: the file cannot be read back.
    """
    for at in range(offered.trace_size, offered.size, _PIECE_BYTES):
        if isinstance(offered.raw, bytes):
            yield offered.raw[at : at + _PIECE_BYTES]
        else:
            yield await asyncio.to_thread(offered.raw.read, at, _PIECE_BYTES)

"""What a mail of 2 KB writes to the disk on its way through the spool, by phase and by table.

    python -m bench.writes [--bare] [--mails 200] [--at-once 1] [--finished 0 100000] [--dir DIR]

Every page that a commit changes goes to the log (WAL) as a frame of 4,120 octets; a checkpoint later writes
each page that changed once into the database. Frames are counted by the table or index that has their page,
while a reader keeps the log from beginning anew. `--at-once` mails share their commits, as under load.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import apsw
from spool_helpers import NOW, SHOWN, build_config, fill

from bench.spool import build_mail
from relay.spool.opening import open_intake, open_outbox
from relay.spool.page import Shown
from relay.vocabulary import Rung

_HEADER, _FRAME_HEADER = 32, 24
PHASES = ("put", "claim", "request", "finish")


def read_frames(log: bytes, page_size: int) -> Iterator[int]:
    """The numbers of the pages in the log, in order."""
    for start in range(_HEADER, len(log), _FRAME_HEADER + page_size):
        yield int.from_bytes(log[start : start + 4], "big")


async def write(
    data_dir: Path, *, mails: int, at_once: int, finished: int, shown: Shown | None = SHOWN
) -> dict[str, Counter[int]]:
    """Pass so many mails through the spool. Returns how often each page was written, by phase."""
    config = build_config(data_dir)
    await open_intake(config).close()
    database = config.data_dir / "spool" / "spool.db"
    fill(database, finished=finished, began=NOW - timedelta(days=5))
    log = Path(f"{database}-wal")
    intake, outbox = open_intake(config), open_outbox(config)
    await outbox.recover(now=NOW)
    reader = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    page_size = reader.pragma("page_size")
    pages: dict[str, Counter[int]] = {phase: Counter() for phase in PHASES}
    with reader:
        reader.execute("SELECT count(*) FROM control").fetchall()
        seen = 0

        def note(phase: str | None) -> None:
            nonlocal seen
            octets = log.read_bytes()
            if phase:
                pages[phase].update(read_frames(bytes(_HEADER) + octets[max(seen, _HEADER) :], page_size))
            seen = len(octets)

        note(None)
        for start in range(0, mails, at_once):
            numbers = range(start, start + at_once)
            await asyncio.gather(
                *(intake.put(build_mail(intake.new_id(), number, 2_000)) for number in numbers)
            )
            note("put")
            entries = await outbox.claim(now=NOW, limit=at_once, lease_seconds=600)
            note("claim")
            request = b"x" * 3_000
            await asyncio.gather(
                *(
                    outbox.save_request(
                        one, request=request, rung=Rung.FULL, token=one.token or "t", expires_at=NOW, now=NOW
                    )
                    for one in entries
                )
            )
            note("request")
            await asyncio.gather(
                *(outbox.finish(one, contact_id=f"c-{one.entry_id}", shown=shown, now=NOW) for one in entries)
            )
            note("finish")
    reader.close()
    await intake.close()
    await outbox.close()
    return pages


def name_pages(database: Path) -> dict[int, str]:
    """The table or index of each page."""
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    names = dict(connection.execute("SELECT pageno, name FROM dbstat").fetchall())
    connection.close()
    return names


def show(pages: dict[str, Counter[int]], names: dict[int, str], *, mails: int) -> None:
    frame_kilobytes = 4.12
    by_name: dict[str, Counter[str]] = {}
    for phase, counts in pages.items():
        for page, times in counts.items():
            by_name.setdefault(names.get(page, "(pointers, free)"), Counter())[phase] += times
    print(f"  {'KB of the log a mail':<26}" + "".join(f"{phase:>9}" for phase in PHASES) + f"{'all':>9}")
    rows = sorted(by_name.items(), key=lambda row: -row[1].total())
    for name, counted in [*rows, ("together", sum((row[1] for row in rows), Counter()))]:
        figures = [counted[phase] * frame_kilobytes / mails for phase in PHASES]
        print(f"  {name:<26}" + "".join(f"{each:>9.1f}" for each in (*figures, sum(figures))))
    distinct = len(set().union(*pages.values()))
    print(f"  and {distinct * 4.096 / mails:.1f} KB into the database, where one checkpoint is enough")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--mails", type=int, default=200)
    parser.add_argument("--at-once", type=int, nargs="*", default=[1, 8])
    parser.add_argument("--finished", type=int, nargs="*", default=[0, 100_000])
    parser.add_argument("--bare", action="store_true", help="without what the page shows of each mail")
    parser.add_argument("--dir", type=Path, default=None, help="where to write")
    arguments = parser.parse_args()
    shown = None if arguments.bare else SHOWN
    for finished in arguments.finished:
        for at_once in arguments.at_once:
            home = Path(tempfile.mkdtemp(prefix="bench-writes-", dir=arguments.dir))
            try:
                pages = asyncio.run(
                    write(home, mails=arguments.mails, at_once=at_once, finished=finished, shown=shown)
                )
                print(f"\n{at_once} at once, beside {finished:,} finished mails:")
                show(pages, name_pages(home / "spool" / "spool.db"), mails=arguments.mails)
            finally:
                shutil.rmtree(home)
    return 0


if __name__ == "__main__":
    sys.exit(main())

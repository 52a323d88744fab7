"""How long the page waits for the spool, and what the deliverer loses to it.

    python -m bench.page [--mails 100000] [--rounds 9] [--seconds 4] [--dir DIR]

A spool of so many mails, nine tenths of them done, the others waiting, held and dead; the medians and the
worst of some rounds, on the wall and of processor time. Then mail that is put, claimed and finished for some
seconds, with a page beside it that asks for status and list twice a second and searches once, and without, in
turns.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from harness import build_mail
from spool_helpers import NOW, SHOWN, build_config, build_destination, build_submission, fill, tables_of

from relay.config import Config
from relay.spool.model import State
from relay.spool.opening import open_intake, open_outbox
from relay.web.spool_view import SpoolView
from relay.web.view import Query, Verdict

_AT_ONCE = 8
#: The header of mail that waits: its subject is found by a look at it.
_RAWS = """
INSERT INTO raws SELECT mail_id, cast(printf('%sFrom: Ann <a%d@customer.example>
Subject: Question %d about the order

%s', hex(zeroblob(50)), mail_id, mail_id, hex(zeroblob(700))) AS BLOB) FROM mails JOIN entries USING (mail_id) WHERE state <> 'done'
"""
QUERIES = {
    "list, newest": Query(),
    "list, a page in the middle": Query(before="50000"),
    "list, held": Query(states=(State.HELD,)),
    "list, class, DMARC and risk": Query(
        classification="bulk", verdicts=((Verdict.DMARC, "fail"),), risk="file.macro"
    ),
    "list, a class that none has": Query(classification="bounce"),
    "search, a common word": Query(text="quarter"),
    "search, a rare word": Query(text="order 12345"),
    "search, a word of no mail": Query(text="xylophone"),
    "search, Japanese": Query(text="請求書"),
    "search, a spool id": Query(text="0000000000012345"),
    "search, a word among the done": Query(text="xylophone", states=(State.DONE,)),
}


async def measure(ask: Callable[[], Awaitable[object]], rounds: int) -> tuple[float, float, float]:
    """Milliseconds of the wall, median and worst, and of processor time."""
    wall, used = [], []
    for _ in range(rounds):
        begun, cpu = time.perf_counter(), time.process_time()
        await ask()
        wall.append((time.perf_counter() - begun) * 1_000)
        used.append((time.process_time() - cpu) * 1_000)
    return statistics.median(wall), max(wall), statistics.median(used)


async def put_one(config: Config) -> None:
    """A mail of 30 KB with HTML and a file, whose words can be shown."""
    mail = build_mail(1, attachment=b"%PDF-1.7 " + bytes(8_000))
    mail.get_body(("plain",)).add_alternative("<p>Words of HTML</p>" * 1_000, subtype="html")
    octets = mail.as_bytes().replace(b"\n", b"\r\n")
    intake = open_intake(config)
    destination = build_destination(route=config.routes[0].name)
    await intake.put(build_submission(intake.new_id(), body=octets, destinations=(destination,)))
    await intake.close()


async def ask_all(config: Config, rounds: int) -> None:
    await put_one(config)
    view = SpoolView(config)
    (newest, *_) = (await view.list(Query())).rows
    (row, *_) = (await view.list(Query(states=(State.DONE,)))).rows
    questions: dict[str, Callable[[], Awaitable[object]]] = {
        "status": view.status,
        **{name: lambda query=query: view.list(query) for name, query in QUERIES.items()},
        "a mail, without its words": lambda: view.mail(row.reference, content=False),
        "a mail of 30 KB with its words": lambda: view.mail(newest.reference, content=True),
    }
    print("| Question | median ms | worst ms | CPU ms |\n|---|---|---|---|")
    for name, ask in questions.items():
        first = time.perf_counter()
        await ask()
        first = (time.perf_counter() - first) * 1_000
        median, worst, used = await measure(ask, rounds)
        print(f"| {name} | {median:.0f} | {max(worst, first):.0f} | {used:.0f} |", flush=True)
    await view.close()


async def ask_on(config: Config) -> None:
    """The page beside the deliverer, until it is ended."""
    view = SpoolView(config)
    while True:
        for _ in range(2):
            await view.status()
            await view.list(Query())
            await asyncio.sleep(0.5)
        await view.list(Query(text="xylophone"))


async def work(config: Config, seconds: float) -> dict[str, float]:
    """Mails a second that were put, claimed and finished, eight at once."""
    intake, outbox = open_intake(config), open_outbox(config)
    spent = dict.fromkeys(("put", "claim", "finish"), 0.0)
    mails, ends = 0, time.perf_counter() + seconds
    while time.perf_counter() < ends:
        now, begun = outbox.now(), time.perf_counter()
        await asyncio.gather(
            *(intake.put(build_submission(intake.new_id(), at=now)) for _ in range(_AT_ONCE))
        )
        put = time.perf_counter()
        entries = await outbox.claim(now=now + timedelta(days=99), limit=_AT_ONCE, lease_seconds=60)
        claimed = time.perf_counter()
        await asyncio.gather(
            *(
                outbox.finish(entry, contact_id=f"n{entry.reference}", shown=SHOWN, now=now)
                for entry in entries
            )
        )
        for name, span in (
            ("put", put - begun),
            ("claim", claimed - put),
            ("finish", time.perf_counter() - claimed),
        ):
            spent[name] += span
        mails += _AT_ONCE
    await outbox.close()
    await intake.close()
    return {
        **{name: span / mails * 1_000 for name, span in spent.items()},
        "a second": mails / sum(spent.values()),
    }


def start_page(data_dir: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "bench.page", "--ask", str(data_dir)])


async def compare(config: Config, data_dir: Path, rounds: int, seconds: float) -> None:
    found: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    for _ in range(rounds):
        for beside in (False, True):
            page = start_page(data_dir) if beside else None
            if page:
                await asyncio.sleep(2)  # until it has started
            found[beside].append(await work(config, seconds))
            if page:
                page.kill()
                page.wait()
    print("\n| ms a mail | put | claim | finish | mails a second |\n|---|---|---|---|---|")
    for beside, rows in found.items():
        medians = [
            statistics.median(row[name] for row in rows) for name in ("put", "claim", "finish", "a second")
        ]
        put, claim, finish, rate = medians
        name = "with the page beside it" if beside else "without a page"
        print(f"| {name} | {put:.2f} | {claim:.2f} | {finish:.2f} | {rate:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mails", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--dir", type=Path)
    parser.add_argument("--ask", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.ask:
        with suppress(KeyboardInterrupt):
            asyncio.run(ask_on(build_config(asked.ask)))
        return
    with tempfile.TemporaryDirectory(dir=asked.dir) as folder:
        data_dir = Path(folder) / "data"
        config = build_config(data_dir)
        asyncio.run(_open(config))
        aside = asked.mails // 100
        fill(
            data_dir / "spool" / "spool.db",
            finished=asked.mails * 9 // 10,
            waiting=asked.mails // 10 - 2 * aside,
            aside=aside,
            began=NOW - timedelta(days=5),
        )
        with tables_of(data_dir) as tables:
            tables.execute(_RAWS)
            tables.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        asyncio.run(ask_all(config, asked.rounds))
        asyncio.run(compare(config, data_dir, max(1, asked.rounds // 3), asked.seconds))


async def _open(config: Config) -> None:
    await open_intake(config).close()


if __name__ == "__main__":
    main()

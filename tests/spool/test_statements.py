"""Every statement of the local spool after a long life: its plan, and the steps it takes."""

from __future__ import annotations

import ast
import asyncio
import re
import sys
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import apsw
import pytest
from spool_helpers import NOW, build_config, build_destination, build_submission, fill, later

import relay.spool.local
from relay.alarms.sender import AlarmMemory, AlarmSender
from relay.alarms.watch import Watch
from relay.config.alarms import Alarms
from relay.errors import LeaseLostError
from relay.spool.action import Action, Via
from relay.spool.audit import AuditFilter
from relay.spool.change import Target
from relay.spool.feed import Refusal
from relay.spool.local.database import open_database, query
from relay.spool.model import DayCount, Filter, PolicyCount, PolicyHold, State
from relay.spool.opening import find_clock_step, open_intake
from relay.spool.page import EntryQuery, Shown
from relay.vocabulary import Rung

pytestmark = pytest.mark.slow

FOLDER = Path(relay.spool.local.__file__).parent
QUEUED, ASIDE = 10_000, 1_000
#: Operations of SQLite's machine that one statement may take: a step of a hundred rows takes some 6,000,
#: a walk over all entries of a state five or more for each.
STEPS = 20_000
#: The same for the watch, which looks every 15 seconds in the deliverer's process.
LOOK_STEPS = 1_000

#: Statements that look at more, by function, and why they may.
WALKS = {
    "claims.bring_back": "all waiting entries, once, at a start",
    "suspects.load": "all waiting entries, once, at a start",
    "listing.count": "a person counts by a filter that has no index",
    "listing.select": "a person filters by what has no index",
    "search.trace": "the entries that were found, a thousand at most",
    "figures.count_contacts": "the contacts of a minute",
    "control.switch": "the waiting entries of one route, once, for a person who switches it",
    "erasure._walk": "5,000 rows for a person who erases, beside those who write",
}
#: Plans that read a whole table or sort, by function, and why they may.
PLANS = {
    "days.read_counts": "adds up the days of a report, for a person",
    "days.read_days": "adds up the days of a report, for a person",
    "actions.read": "a person reads the audit, from its end",
    "actions.find_naming": "reads the audit of a year, for a person who erases",
    "days.forget_domain": "the counts of a year, once for a person who is erased, and the only one of a domain",
    "erasure._find_named": "sorts the mails of one contact",
    "erasure.needles_of": "sorts the addresses of one mail",
    "feed.settle": "sorts the events that were given up, 10,000 at most, when one more is",
    "claims.find_probes": "sorts ten rows of an array",
    "claims._queued": "sorts the few probes of a claim",
    "claims._read": "sorts the entries of one claim",
    "suspects.next_entry": "sorts the entries of one runner that hung",
    "accept._known": "sorts what a group of mails repeats",
    "outcomes.find_token": "sorts the records of one token",
    "outbox._sweep": "the mails that have a file, once, at a start",
    "turns.load": "a table of at most 10,000 rows, once, at a start",
    "search.trace": "sorts the entries that a word names",
    "search.find_finished": "sorts the entries of some Message-IDs",
    "search.remembered": "sorts the records that a word names",
    "search.originals": "sorts the entries at the last rung since some hours",
    "search.find_routes": "sorts the few routes of a slice",
    "paging._walk_named": "sorts the entries that an id names",
}
#: Tables that stay small (a row for each counter, pause or hold), and the walk from route to route.
#: The index of leased entries is as short as the list of deliveries under way.
SMALL = {"clock", "clock_offsets", "sqlite_schema", "control", "totals", "marks", "walk", "switches", "feed"}
#: Calls that the scenario below does not reach, and why.
NOT_RUN = {
    "retention.find_expired": "only where a route has days of its own: a stretch of the index of finished entries",
    "retention.remove_done": "the same: a hundred entries by their numbers",
    "erasing._write_anew": "only where the free space of a page holds what was removed",
    "key.find_fault": "`relay check` asks, and an index answers",
    "clock.establish": "runs after another start of the machine alone, and looks at waiting entries",
    "clock._save": "one runs after another start of the machine alone, and looks at waiting entries",
    "turns._save": "the second one runs after 10,000 networks, and removes a row by its whole key",
}


ACTION = Action(actor="ann", via=Via.CLI, command="queue hold")


class Seen:
    """The statements that were run: by call, the texts; by text, values and the most steps of a run."""

    def __init__(self) -> None:
        self.calls: dict[tuple[str, int], set[str]] = defaultdict(set)
        self.values: dict[str, object] = {}
        self.steps: dict[str, int] = defaultdict(int)
        #: The statements of one look of the watch.
        self.look = self

    def watch(self, connection) -> None:
        connection.exec_trace = self._note
        connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, self._count)

    def _note(self, _cursor, sql, values) -> bool:
        frame = sys._getframe(1)
        while frame and (Path(frame.f_code.co_filename).parent != FOLDER or frame.f_code.co_name == "query"):
            frame = frame.f_back
        # Opening and migration are left out, as in `find_calls`.
        opens = frame and Path(frame.f_code.co_filename).stem == "database"
        if frame and not opens and re.match(r"\s*(SELECT|UPDATE|DELETE|INSERT|WITH)", sql):
            self.calls[Path(frame.f_code.co_filename).stem, frame.f_lineno].add(sql)
            self.values[sql] = values
        return True

    def _count(self, event) -> None:
        if event["sql"]:
            steps = event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]
            self.steps[event["sql"]] = max(self.steps[event["sql"]], steps)


@contextmanager
def watched():
    """All connections that are opened meanwhile are watched."""
    seen = Seen()
    apsw.connection_hooks.append(seen.watch)
    try:
        yield seen
    finally:
        apsw.connection_hooks.remove(seen.watch)


def find_calls() -> dict[tuple[str, int, int], str]:
    """The calls of the local spool that run a statement: module, first and last line; and the function."""
    calls = {}
    for path in FOLDER.glob("*.py"):
        # Opening and migration; and those that are about all of a spool, and run for a person.
        if path.stem in {"database", "schema", "backup", "restore", "arriving", "leaving", "moving"}:
            continue
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and _runs(call):
                    place = path.stem, call.lineno, call.end_lineno
                    calls[place] = f"{path.stem}.{function.name}"  # the innermost function comes last
    return calls


def _runs(call) -> bool:
    if re.search("PRAGMA|'BEGIN'|'COMMIT'", ast.unparse(call)):
        return False
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in {"query", "execute", "executemany"}


async def receive(intake) -> list[str]:
    """Mail of every kind comes in."""
    known = ["<7@life.example>"]
    ids = []
    for number in range(40):
        destination = build_destination(f"{number % 3}@example.com", route=f"n{number % 3}")
        mail = build_submission(
            intake.new_id(), destinations=(destination,), references=known, author="ann@customer.example"
        )
        if number == 0:
            mail = mail._replace(holds=(PolicyHold(route="n0", reason="policy.x", detail=""),))
        ids.append((await intake.put(mail)).spool_id)
        intake.confirm(ids[-1])
    intake.confirm((await intake.put(build_submission(intake.new_id(), message_id=None))).spool_id)
    await intake.put(build_submission(intake.new_id(), body=b"twice", message_id="<t@x>"))
    assert (await intake.put(build_submission(intake.new_id(), body=b"twice", message_id="<t@x>"))).duplicate
    assert intake.room(1_000)
    assert not intake.paused()
    intake.note_refusals([Refusal(NOW, "s", "r1", "i", "policy.virus")])
    await intake.probe()
    return ids


async def deliver(outbox) -> tuple[str, str]:
    """Entries go all ways out of a lease. Returns the references of one that is held, and in doubt, and of
    one whose mail was removed.
    """
    at = later(10)
    held = [f"r{number}" for number in range(5)]
    assert not await outbox.claim(now=NOW - timedelta(hours=1), limit=8, lease_seconds=60, held_routes=held)
    probes = await outbox.find_probes("n1")
    await outbox.resume_unused("nothing")
    await outbox.hold_route("n1", reason="connect.x", detail="", now=at)
    assert await outbox.claim(now=at, limit=2, lease_seconds=60, held_routes=held, probes=probes)
    await outbox.resume_route("n1")
    assert await outbox.next_due_at()
    entries = list(await outbox.claim(now=at, limit=20, lease_seconds=60, held_routes=held))
    assert len(entries) == 20
    one = entries.pop()
    async with outbox.open_raw(one):
        pass
    await outbox.renew(one, lease_seconds=60, now=at)
    await outbox.save_request(one, request=b"{}", rung=Rung.FULL, token="t", expires_at=later(99), now=at)
    await outbox.find_contact(one, message_ids=["<7@life.example>"], since=NOW - timedelta(days=60))
    assert await outbox.find_token("t7")
    await outbox.refuse(one, rung=Rung.TEXT, token="u", reason="r", detail="", now=at)
    await outbox.begin_sending(one, token="u", now=at)
    await outbox.begin_original(one, reason="worker.crashed", detail="", now=at)
    await outbox.why_original(one)
    await outbox.finish(one, contact_id="c", now=at)
    redacted = entries.pop()
    await outbox.finish(redacted, contact_id="d", forget=True, now=at)
    with pytest.raises(LeaseLostError):
        await outbox.finish(one, contact_id="c", now=at)
    await outbox.defer(
        entries.pop(), until=later(60), reason="r", detail="", settled=True, void=True, rung=Rung.TEXT, now=at
    )
    put_back = entries.pop()
    await outbox.defer(put_back, until=later(60), reason="r", detail="", begun=False, now=at)
    await outbox.recall([put_back.reference], now=at)
    doubtful = entries.pop()
    await outbox.begin_sending(doubtful, token="v", now=at - timedelta(days=30))
    shown = Shown(document=b"{}", classification="bulk", marks="", words="")
    await outbox.hold(doubtful, reason="class.bulk", detail="", shown=shown, now=at)
    await outbox.keep_feed(wanted=True)
    await outbox.bury(entries.pop(), reason="r", detail="", afresh=True, settled=True, now=at)
    await outbox.look_at_clock()
    await outbox.claim(now=later(3600), limit=8, lease_seconds=60)  # leases have ended
    await outbox.paused()
    await outbox.add_counts([PolicyCount("2026-11-29", "spf.fail", "tag", False, "r1", "x.example", 1)])
    await outbox.add_counts([DayCount("2026-11-29", "received", "x.example", 1)])
    told = [event.number for event in await outbox.pending_feed(now=at, limit=9)]
    await outbox.settle_feed(sent=[], failed=told, max_tries=1, now=at)
    await outbox.measure_feed()
    await outbox.keep_feed(wanted=False)
    return doubtful.reference, redacted.reference


async def sweep(outbox) -> None:
    """Retention, the last limit, and room."""
    # 250 of the finished mails, and 1,250 records of them
    await outbox.expire(now=NOW - timedelta(days=30) + timedelta(days=90, seconds=1.25))
    rows = await outbox.untold_actions()
    await outbox.note_told(rows[-1].number)
    after = 0
    while after is not None:
        aged = await outbox.bury_aged(
            accepted_before=NOW, reason="too_old", detail="", now=NOW + timedelta(days=1), after=after
        )
        after = aged.after
    await outbox.make_room()
    await outbox.keep_feed(wanted=False)


def operate(desk, ids) -> None:
    """A person looks, and changes."""
    at = later(20)
    for word in (ids[5], "<9@life.example>", "c9", "s9@life.example", "@life.example", "nobody", "<>"):
        desk.trace(word)
        desk.remembered(word)
    desk.remembered(f"{ids[5]}.7")
    desk.hold(ids[5:8], now=at, action=ACTION)
    desk.note_action(ACTION)
    desk.actions(AuditFilter())
    desk.actions(AuditFilter(since=NOW, until=at, actor="ann", command="queue"))
    desk.release([ids[5], ids[-1]], now=at, agreed=True)
    desk.retry(ids[6:8], now=at, agreed=True)
    desk.hold(ids[8:9], now=at)
    desk.reroute(ids[8:9], Target(route="r9", instance_id="i", address=""), now=at, agreed=True)
    desk.export(ids[8])
    desk.history(desk.select(Filter(ids=(ids[8],)))[0])
    for wanted in (
        Filter(),
        Filter(route="r1", reason="connect", older_than=NOW),
        Filter(states=(State.HELD,), sender="@life.example"),
        Filter(recipient="@example.com", states=(State.DEAD,)),
    ):
        desk.select(wanted)
        desk.tally(wanted)
    desk.counts()
    desk.aside()
    desk.holds_after(None, limit=100)
    desk.bulk()
    desk.oldest_at()
    desk.held_by_policy()
    desk.originals(reasons=["worker.crashed"], since=NOW - timedelta(days=1))
    desk.backlog(limits=(timedelta(hours=1),), now=at)
    desk.pause("route r2", now=at)
    desk.resume("route r2")
    for standby in (True, False):
        desk.switch("r2", standby=standby, leaving="i", now=at)
    desk.retry_feed()
    desk.paused()
    desk.routes()
    for asked in (
        EntryQuery(),
        EntryQuery(states=(State.HELD, State.DONE), route="r1", reason="connect", limit=10),
        EntryQuery(classification="human", risk="x", verdicts=(("spf", "pass"),)),
        EntryQuery(words=("s9@life",), states=(State.QUEUED, State.DONE), before="9000"),
        EntryQuery(words=(ids[5].lower(),)),
        EntryQuery(words=("quarter", "東京"), classification="human", states=(State.DONE,)),
    ):
        desk.page(asked)
    desk.listed(ids[5:7])
    desk.thread(["<9@life.example>"], limit=20)
    desk.accepted(since=NOW - timedelta(days=1))
    desk.reasons()
    desk.contacts(since=NOW - timedelta(days=1))
    desk.version()
    desk.policy_counts(since="2026-01-01")
    desk.day_counts(since="2026-01-01")
    desk.others(build_submission(ids[0]))
    desk.drop(ids[8:10], now=at)
    desk.find_person("c9")
    desk.note_action(replace(ACTION, about=("s9@life.example",)))
    for address in ("s9@life.example", "nobody@x.example"):
        desk.erase(desk.find_person(address), address=address, now=at)


@pytest.fixture(params=[10_000, pytest.param(100_000, marks=pytest.mark.long)])
async def seen(request, spool):
    """What a long life runs: reception, deliveries, two bad ends of a runner, a person."""
    spool.settings = {"max_age_hours": 10_000, "retain_days": 90, "max_ledger_rows": 1}
    await spool.open_intake().close()
    fill(
        spool.config.data_dir / "spool" / "spool.db",
        finished=request.param,
        waiting=QUEUED,
        aside=ASIDE,
        began=NOW - timedelta(days=30),
    )
    with watched() as seen:
        intake, outbox, desk = spool.open_intake(), spool.open_outbox(), spool.open_desk()
        await outbox.recover(now=NOW)
        ids = await receive(intake)
        doubtful, redacted = await deliver(outbox)
        ids.append(doubtful)
        assert desk.export(redacted) is None
        await outbox.recover(now=later(30), blame=True, hung=True)
        await outbox.claim(now=later(3_600), limit=2, lease_seconds=60)
        await outbox.claim(now=later(3_600), limit=2, lease_seconds=60)
        await outbox.hold_route("r3", reason="connect.x", detail="", now=later(20))
        desk.reasons()
        await outbox.resume_route("r3")
        operate(desk, ids)
        find_clock_step(spool.config)
        await sweep(outbox)
        await intake.close()
    with watched() as seen.look:
        await look(spool, outbox)
    return seen


async def look(spool, outbox) -> None:
    """The watch looks at the queue once."""
    watch = Watch(
        config=spool.config,
        outbox=outbox,
        desk=spool.open_desk(),
        sender=AlarmSender(Alarms(), hostname="mx.test", now=lambda: NOW),
        memory=AlarmMemory(outbox),
        now=lambda: later(3_600),
        wait=rest,
    )
    await watch.look()


async def rest(seconds: float) -> bool:
    await asyncio.sleep(seconds)
    return False


def explain(connection, sql, values) -> list[str]:
    return [row[3] for row in query(connection, f"EXPLAIN QUERY PLAN {sql}", values or ())]


def test_every_statement_costs_the_same_in_a_long_life(spool, seen):
    """Nothing reads a whole table, sorts, or takes many steps, but what is listed with its reason; and every
    statement of the spool was run.
    """
    connection = open_database(spool.config.data_dir / "spool" / "spool.db")
    for name, arity in (("fits_sender", 1), ("fits_recipient", 2), ("is_theirs", 2), ("is_of_domain", 2)):
        connection.create_scalar_function(name, lambda *_: False, arity)
    walks, plans, run, wrong = set(), set(), set(), []
    calls = find_calls()
    for (module, line), texts in seen.calls.items():
        (place, function), *_ = [
            (place, name)
            for place, name in calls.items()
            if place[0] == module and place[1] <= line <= place[2]
        ]
        run.add(place)
        for sql in texts:
            if seen.steps[sql] > STEPS:
                walks.add(function)
                if function not in WALKS:
                    wrong.append(f"{function} took {seen.steps[sql]:,} steps: {sql}")
            for plan in explain(connection, sql, seen.values[sql]):
                scanned = re.match(r"SCAN (\w+)\b(?! VIRTUAL TABLE)(?! USING .*INDEX entries_leased)", plan)
                if "TEMP B-TREE" in plan or (scanned and scanned[1] not in SMALL):
                    plans.add(function)
                    if function not in PLANS:
                        wrong.append(f"{function}: {plan}: {sql}")
    connection.close()
    wrong += [
        f"a look of the watch took {steps:,} steps: {sql}"
        for sql, steps in seen.look.steps.items()
        if steps > LOOK_STEPS
    ]
    missed = {name for place, name in calls.items() if place not in run}
    assert not wrong, "\n".join(wrong)
    stale = {"walks": set(WALKS) - walks, "plans": set(PLANS) - plans, "calls": missed ^ set(NOT_RUN)}
    assert not any(stale.values()), str(stale)


async def test_one_mail_sent_to_thousands_costs_the_next_no_more(intake, outbox):
    """A stranger's mail with the same octets for each of many addresses, or from each of many senders: all
    receivers wait for the look at earlier ones, so it looks at the newest alone.
    """
    body = b"Subject: to you\r\n\r\nHello\r\n"

    async def put(number):
        destination = build_destination(f"a{number}@example.com")
        mail = build_submission(
            intake.new_id(),
            body=body,
            message_id="<1@x>",
            reverse_path=f"s{number}@x.example",
            destinations=(destination,),
        )
        return await intake.put(mail)

    await asyncio.gather(*map(put, range(600)))
    for _ in range(38):
        for entry in await outbox.claim(now=NOW, limit=16, lease_seconds=60):
            await outbox.finish(entry, contact_id=f"c{entry.entry_id}", now=NOW)
    with watched() as seen:
        other = open_intake(build_config(intake._layout.data_dir))
    last = await put(599)
    assert last.duplicate
    mail = build_submission(other.new_id(), body=body, message_id="<1@x>", reverse_path="new@x.example")
    assert not (await other.put(mail)).duplicate
    await other.close()
    (steps,) = [steps for sql, steps in seen.steps.items() if "UNION ALL" in sql and "wanted" in sql]
    assert steps < STEPS

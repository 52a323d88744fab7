"""The table of a fleet as `relay fleet check` finds it, and what this machine may do with its items.

Owns those questions and their sentences; `bucket` has those about objects. Changes nothing: a right to write
is proved by a change whose condition cannot hold.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from relay.aws.database import Check, Condition, Database, Delete, Put, Update
from relay.aws.objects import Objects
from relay.aws.provisioning import Provision
from relay.check.finding import Finding, Level, fail, ok, warn
from relay.config.model import Config
from relay.errors import RemoteError
from relay.spool.fleet import tables
from relay.spool.fleet.bucket import DENIED, examine_bucket, examine_objects, tell_untold
from relay.spool.fleet.clock import FleetClock
from relay.spool.fleet.founding import compare_index, compare_table, read_format, tell_newer
from relay.spool.fleet.store import new_op
from relay.timing import Clocks

_REMEDY = "relay fleet create makes it so"
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """The answers to all these questions."""

    findings: tuple[Finding, ...]
    #: By how much the wall clock is ahead of that of AWS; None if DynamoDB did not answer.
    ahead: timedelta | None


async def examine(config: Config, *, clocks: Clocks) -> Examined:
    """Examine the fleet's spool.

    Raises:
        ConfigError: no Region is set, or an endpoint or a profile is not usable.
    """
    from relay.aws.clients import open_fleet  # noqa: PLC0415 - 40 MB that only a fleet needs

    clock, answered = FleetClock(clocks), False

    def heed(_operation: str, answer: Mapping[str, Any], asked_at: int) -> None:
        nonlocal answered
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        clock.heed(headers.get("date"), asked_at=asked_at)
        answered = True

    async with open_fleet(config) as (client, s3):
        fleet = config.fleet
        database = Database(
            client, fleet.table, keys=(tables.PARTITION, tables.SORT), steady=clock.steady, heed=heed
        )
        findings = [each async for each in _examine_table(Provision(client, fleet.table), fleet.table)]
        if findings[0].level is not Level.FAIL:  # else each question would fail by the same
            findings += [each async for each in _examine_rights(database, fleet.table)]
        bucket = config.s3.bucket
        findings += [each async for each in examine_bucket(s3, bucket, fleet.prefix)]
        key = tables.probe_object(fleet.prefix, f"check.{fleet.node or config.hostname}")
        findings += [each async for each in examine_objects(Objects(s3, bucket), bucket, fleet.prefix, key)]
    ahead = (clocks.wall() - clock.microseconds()) * _MICROSECOND if answered else None
    return Examined(findings=tuple(findings), ahead=ahead)


async def _examine_table(provision: Provision, table: str) -> AsyncIterator[Finding]:
    subject = f"table {table}"
    try:
        described = await provision.describe()
    except RemoteError as exc:
        yield tell_untold(subject, exc, right="dynamodb:DescribeTable")
        return
    if described is None:
        yield fail(subject, "there is none; make it: relay fleet create")
        return
    for finding in _judge_table(described, table):
        yield finding
    questions: tuple[tuple[str, str, Callable[[], Awaitable[Finding]]], ...] = (
        ("expiry", "dynamodb:DescribeTimeToLive", lambda: _judge_expiry(provision)),
        (
            "point-in-time recovery",
            "dynamodb:DescribeContinuousBackups",
            lambda: _judge_recovery(provision),
        ),
    )
    for about, right, ask in questions:
        try:
            yield await ask()
        except RemoteError as exc:
            yield tell_untold(about, exc, right=right)


def _judge_table(described: Mapping[str, Any], table: str) -> Iterator[Finding]:
    subject, definition = f"table {table}", tables.build_definition(table)
    wrong = list(compare_table(definition, described))
    if wrong:
        yield fail(subject, f"is none of a fleet: {'; '.join(wrong)}; name another in fleet.table")
        return
    status = described.get("TableStatus")
    if status != "ACTIVE":
        yield fail(subject, f"is {status}, and should be ACTIVE; wait for it")
        return
    mode = (described.get("BillingModeSummary") or {}).get("BillingMode", "PROVISIONED")
    if mode == "PAY_PER_REQUEST":
        yield ok(subject, "is there, on demand")
    else:
        yield warn(subject, "has provisioned capacity, and should be on demand: a rush of mail is throttled")
    there = {each.get("IndexName"): each for each in described.get("GlobalSecondaryIndexes") or ()}
    for index in definition["GlobalSecondaryIndexes"]:
        yield _judge_index(index, there.get(index["IndexName"]))
    if described.get("DeletionProtectionEnabled") is True:
        yield ok("deletion protection", "is on")
    else:
        yield warn("deletion protection", f"is off, and should be on; {_REMEDY}")


def _judge_index(wanted: Mapping[str, Any], found: Mapping[str, Any] | None) -> Finding:
    subject = f"index {wanted['IndexName']}"
    if found is None:
        return fail(subject, f"is missing; {_REMEDY}")
    if wrong := list(compare_index(wanted, found)):
        return fail(subject, f"cannot be used: {'; '.join(wrong)}; remove it, then run relay fleet create")
    if (status := found.get("IndexStatus")) != "ACTIVE":
        return fail(subject, f"is {status}, and should be ACTIVE; wait for it")
    return ok(subject, "has its keys and attributes")


async def _judge_expiry(provision: Provision) -> Finding:
    attribute = await provision.find_expiry()
    if attribute == tables.EXPIRES:
        return ok("expiry", f'is by the attribute "{attribute}", which nothing has that is owed')
    if not attribute:
        return warn("expiry", f'is off, and should be by "{tables.EXPIRES}": guards stay for ever; {_REMEDY}')
    return fail(
        "expiry", f'is by the attribute "{attribute}", and should be by "{tables.EXPIRES}"; turn it off'
    )


async def _judge_recovery(provision: Provision) -> Finding:
    if await provision.is_recoverable():
        return ok("point-in-time recovery", "is on")
    return warn(
        "point-in-time recovery", f"is off, and should be on: it is the backup of the table; {_REMEDY}"
    )


async def _examine_rights(database: Database, table: str) -> AsyncIterator[Finding]:
    """Ask for each right by a question that finds nothing, or a change whose condition cannot hold."""
    nobody = ("CHECK", "nobody")
    item = {tables.PARTITION: nobody[0], tables.SORT: nobody[1]}
    never = Condition(text="attribute_exists(#pk)")
    partition = Condition(text="#pk = :pk", values={"pk": nobody[0]})
    other = Put(item={**item, tables.SORT: "other"}, condition=never)
    place = f"table {table}"
    probes: list[tuple[str, str, Callable[[], Awaitable[object]]]] = [
        ("GetItem", place, lambda: database.get(nobody)),
        ("BatchGetItem", place, lambda: database.get_all([nobody])),
        ("Query", place, lambda: database.query(partition, limit=1)),
        ("Scan", place, lambda: database.scan(limit=1)),
        ("PutItem", place, lambda: database.change(Put(item=item, condition=never))),
        (
            "UpdateItem",
            place,
            lambda: database.change(
                Update(key=nobody, text="SET #op = :op", values={"op": "check"}, condition=never)
            ),
        ),
        ("DeleteItem", place, lambda: database.change(Delete(key=nobody, condition=never))),
        (
            "ConditionCheckItem",
            place,
            lambda: database.transact([Check(key=nobody, condition=never), other], token=new_op()),
        ),
    ]
    for index in tables.build_definition(table)["GlobalSecondaryIndexes"]:
        name, key = index["IndexName"], index["KeySchema"][0]["AttributeName"]
        wanted = Condition(text=f"#{key} = :key", values={"key": "CHECK"})
        probes.append(("Query", f"index {name}", _ask_index(database, wanted, name)))
    lacking: list[Finding] = []
    for action, where, ask in probes:
        try:
            await ask()
        except RemoteError as exc:
            if exc.code not in DENIED:
                yield fail(where, f"dynamodb:{action} fails: {exc}")
                return
            needed = warn if action == "Scan" else fail
            only = ", which commands need that look for finished mail" if action == "Scan" else ""
            lacking.append(needed(f"rights on {where}", f"dynamodb:{action} is denied; allow it{only}"))
    for finding in lacking:
        yield finding
    if not lacking:
        yield ok("rights on the table", "all that a node and commands need, on the table and its indexes")
    if (newest := await read_format(database)) > tables.VERSION:
        yield fail(place, tell_newer(newest))


def _ask_index(database: Database, wanted: Condition, name: str) -> Callable[[], Awaitable[object]]:
    return lambda: database.query(wanted, index=name, limit=1)

"""The lists of senders as `relay check` meets them: files are read, tables are asked for one address.

Owns those examinations, and the advice for a table that refuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from relay.check.finding import Finding, fail, ok, warn
from relay.config import Config
from relay.errors import ConfigError, RemoteError
from relay.lists.lookup import read_files

_SECONDS = 10.0
#: An address that nobody has (RFC 6761).
_NOBODY = "nobody@relay-check.invalid"


def examine_list_files(config: Config) -> Iterator[Finding]:
    """Examine the lists in files."""
    lists = read_files(config)
    for file in lists.files if lists is not None else ():
        subject = f"list {file.name}"
        if file.trouble:
            yield fail(
                subject, f"{file.path}: {file.trouble}; mend the file, or nothing that is new in it counts"
            )
        elif not file.entries:
            yield warn(subject, f"{file.path} has no entries")
        else:
            yield ok(subject, f"{len(file.entries):,} entries in {file.path}")


def examine_list_tables(config: Config) -> Iterator[Finding]:
    """Examine the lists in tables of DynamoDB."""
    tables = {name: source.dynamodb for name, source in config.lists.items() if source.dynamodb is not None}
    if tables:
        yield from asyncio.run(_ask_all(tables))


async def _ask_all(tables: dict[str, str]) -> list[Finding]:
    from relay.aws.clients import open_service  # noqa: PLC0415 - slow to import

    try:
        async with open_service("dynamodb") as client:
            return [await _ask(client, name, table) for name, table in tables.items()]
    except ConfigError as exc:
        return [fail("lists", str(exc))]


async def _ask(client: object, name: str, table: str) -> Finding:
    from relay.aws.tables import KEY, find_entries  # noqa: PLC0415 - slow to import

    try:
        await find_entries(client, table, [_NOBODY], seconds=_SECONDS)
    except RemoteError as exc:
        advice = {
            "AccessDeniedException": f"allow dynamodb:BatchGetItem on table/{table}",
            "ResourceNotFoundException": f'make it with the partition key "{KEY}" (a string), or mend lists.{name}.dynamodb',
            "ValidationException": f'its partition key must be "{KEY}", a string',
        }.get(exc.code, "look at the network, the Region, or AWS_ENDPOINT_URL_DYNAMODB")
        return fail(f"list {name}", f"the table {table} does not answer ({exc.detail}); {advice}")
    return ok(f"list {name}", f"the table {table} answers")

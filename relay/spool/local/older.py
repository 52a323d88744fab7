"""A spool of an earlier version, as a command that only looks at it sees it: what its tables lack has its default.

Owns the views that stand in front of such tables. They are the connection's own and go with it: nothing is written to
the spool, and the older relay that may be running goes on. SQLite finds temporary names first, so that every question
is asked as of a spool of our version.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw


def stand_in(connection: apsw.Connection, migrations: Sequence[str]) -> None:
    """Have the connection see the tables as these migrations would leave them."""
    newest = apsw.Connection(":memory:")
    try:
        for migration in migrations:
            newest.execute(migration)
        tables: list[tuple[str, str]] = _query(
            newest, "SELECT name, sql FROM sqlite_schema WHERE type = 'table'"
        )
        for name, sql in tables:
            if name.startswith("sqlite_"):
                continue
            there = {column for column, _ in _columns(connection, name)}
            lacking = [(column, value) for column, value in _columns(newest, name) if column not in there]
            if not there:
                connection.execute(sql.replace("CREATE TABLE", "CREATE TEMP TABLE", 1))
            elif lacking:
                defaults = ", ".join(f"{value} AS {column}" for column, value in lacking)
                # A table without a key of its own is walked in the order of its rows.
                own = "" if _has_key(newest, name) else "rowid AS rowid, "
                connection.execute(f"CREATE TEMP VIEW {name} AS SELECT {own}*, {defaults} FROM main.{name}")  # noqa: S608 - names of ours
    finally:
        newest.close()


def _columns(connection: apsw.Connection, table: str) -> list[tuple[str, str]]:
    """The columns of a table, and what each holds where nothing was said."""
    rows = connection.execute("SELECT name, coalesce(dflt_value, 'NULL') FROM pragma_table_info(?)", (table,))
    return [(str(name), str(value)) for name, value in rows]


def _query(connection: apsw.Connection, sql: str) -> list[Any]:
    """All rows; what their columns hold is known from the schema, not to the type checker."""
    return connection.execute(sql).fetchall()


def _has_key(connection: apsw.Connection, table: str) -> bool:
    return bool(connection.execute("SELECT sum(pk) FROM pragma_table_info(?)", (table,)).get)

"""What tests of and over the spool share: configurations, mails, instants, and how an implementation is
opened.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest

from relay.config.model import Config
from relay.envelope import Destination, Envelope, ForwardPath, Peer
from relay.spool.local import database
from relay.spool.local.database import close_database, open_database, query
from relay.spool.local.layout import lock_file
from relay.spool.local.schema import MIGRATIONS
from relay.spool.model import Submission
from relay.spool.opening import open_desk, open_intake, open_outbox

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
_COUNT = itertools.count()


def build_config(data_dir: Path, *, deliver=None, **spool) -> Config:
    """The smallest that is whole; `spool` are keys of its table."""
    return Config(
        hostname="mx1.example.com",
        data_dir=data_dir,
        s3={"bucket": "mail-bucket"},
        connect={"instance_id": "instance-1"},
        routes=({"match": ("@example.com",)},),
        spool={"min_free_bytes": 0, "min_free_inodes": 0, **spool},
        deliver=deliver or {},
    )


def build_destination(
    address="support@example.com", route="support", instance_id="instance-1"
) -> Destination:
    return Destination(instance_id=instance_id, address=address, forward_paths=(address,), route=route)


def build_submission(
    spool_id,
    *,
    body=None,
    message_id="",
    destinations=None,
    at=NOW,
    reverse_path="ann@customer.example",
    raw=None,
    references=(),
    author=None,
    trace=b"Received: from x\r\n",
    peer="192.0.2.7",
    role="mx",
) -> Submission:
    """A mail unlike any other, unless its body is given; message_id "" makes one up, None leaves it out."""
    number = next(_COUNT)
    content = body if body is not None else b"Subject: %d\r\n\r\nHello %d\r\n" % (number, number)
    destinations = destinations or (build_destination(),)
    whole = trace + content
    return Submission(
        spool_id=spool_id,
        envelope=Envelope(
            reverse_path=reverse_path,
            forward_paths=tuple(ForwardPath(address=d.address) for d in destinations),
            peer=Peer(address=peer, port=4711, helo="mail.customer.example", protocol="ESMTPS", role=role),
            received_at=at,
        ),
        destinations=tuple(destinations),
        raw=whole if raw is None else raw,
        size=len(whole),
        trace_size=len(trace),
        fingerprint=hashlib.sha256(content).hexdigest(),
        message_id=f"<{number}@customer.example>" if message_id == "" else message_id,
        references=tuple(references),
        author=author,
        results={"relay_spf": "pass"},
    )


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def raw_files(data_dir: Path) -> list[Path]:
    """The large mails that lie in a local spool."""
    return sorted(data_dir.glob("spool/raw/*/*"))


def lock_files(data_dir: Path) -> list[Path]:
    """The lock files of id makers."""
    return sorted(data_dir.glob("spool/makers/*"))


class LocalSpool:
    """The local implementation, as the contract's tests open it; another implementation brings its own such
    class.
    """

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.opened: list = []
        self.desks: list = []
        self.settings: dict = {}

    @property
    def config(self) -> Config:
        return build_config(self.tmp_path / "data", **self.settings)

    def open_intake(self):
        intake = open_intake(self.config)
        self.opened.append(intake)
        return intake

    def open_outbox(self):
        outbox = open_outbox(self.config)
        self.opened.append(outbox)
        return outbox

    def open_desk(self):
        desk = open_desk(self.config)
        self.desks.append(desk)
        return desk

    async def close(self) -> None:
        for one in self.opened:
            await one.close()
        for desk in self.desks:
            desk.close()


async def claim_one(outbox, *, now=NOW, lease_seconds=60.0, **more):
    (entry,) = await outbox.claim(now=now, limit=1, lease_seconds=lease_seconds, **more)
    return entry


@contextmanager
def tables_of(data_dir: Path) -> Iterator[apsw.Connection]:
    """The tables of a local spool, past every rule: for states that no command makes."""
    connection = open_database(data_dir / "spool" / "spool.db")
    try:
        yield connection
    finally:
        connection.close()


def make_database(path: Path) -> None:
    """The empty database of a local spool."""
    open_database(path, create=True).close()


def hold_delivery(data_dir: Path) -> int:
    """The lock of a deliverer that runs, as a descriptor: it is held until that is closed."""
    return lock_file(data_dir / "deliver.lock")


def make_version_2(config: Config) -> None:
    """The spool as the relay of c822b4b would have left it: its tables, with the rows that they had."""
    path = config.data_dir / "spool" / "spool.db"
    older = path.with_name("older.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", MIGRATIONS[:2])
        connection = open_database(older, create=True)
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("ATTACH ? AS newer", (str(path),))
    for (table,) in query(connection, "SELECT name FROM main.sqlite_schema WHERE type = 'table'"):
        if table.startswith("sqlite_"):
            continue
        columns = ", ".join(
            row[0] for row in query(connection, "SELECT name FROM pragma_table_info(?, 'main')", (table,))
        )
        connection.execute(f"DELETE FROM main.{table}")
        connection.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM newer.{table}")
    connection.execute("DELETE FROM main.totals; INSERT INTO main.totals SELECT * FROM newer.totals")
    connection.execute("DETACH newer")
    close_database(connection)
    for word in ("", "-wal", "-shm"):
        path.with_name(f"{path.name}{word}").unlink(missing_ok=True)
    older.rename(path)

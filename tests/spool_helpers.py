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
from relay.spool.local.addressed import key_of
from relay.spool.local.database import close_database, open_database, query, transaction
from relay.spool.local.layout import lock_file
from relay.spool.local.schema import MIGRATIONS
from relay.spool.model import Submission
from relay.spool.opening import open_desk, open_intake, open_outbox
from relay.spool.page import Shown
from relay.spool.records import build_envelope_json

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
_COUNT = itertools.count()
#: What an ordinary mail of some kilobytes leaves for the page.
SHOWN = Shown(
    document=b'{"subject":"Order"}'.ljust(2_500),
    classification="human",
    marks=" spf=pass dkim=pass dmarc=pass ",
    words="a subject of some words from ann ann@customer.example support@example.com",
)


def build_config(data_dir: Path, *, deliver=None, **spool) -> Config:
    """The smallest that is whole; `spool` are keys of its table."""
    return Config(
        hostname="mx1.example.com",
        data_dir=data_dir,
        s3={"bucket": "mail-bucket"},
        connect={"instance_id": "00000000-0000-0000-0000-000000000001"},
        routes=({"match": ("@example.com",)},),
        spool={"min_free_bytes": 0, "min_free_inodes": 0, **spool},
        deliver=deliver or {},
    )


def build_destination(
    address="support@example.com", route="support", instance_id="00000000-0000-0000-0000-000000000001"
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


def fill(
    path: Path,
    *,
    finished: int,
    began: datetime,
    waiting: int = 0,
    aside: int = 0,
    every: timedelta = timedelta(milliseconds=1),
) -> None:
    """Add mails of 2,000 octets to a spool that has none: `finished` first, then those that are `waiting`,
    then as many held and dead ones as are `aside`. The first was accepted when it `began`, each other one
    `every` after it. They have no octets.
    """
    connection = open_database(path)
    connection.execute("PRAGMA synchronous = OFF")
    total = finished + waiting + 2 * aside
    at, step = int(began.timestamp()) * 1_000_000, every // timedelta(microseconds=1)
    envelope = build_envelope_json(build_submission("x").envelope)
    with transaction(connection):
        connection.execute(_MAILS, (total, at, envelope, step))
        connection.execute(_ENTRIES, (finished, finished + waiting, finished + waiting + aside))
        connection.execute(_LEDGER)
        connection.create_scalar_function("key_of", key_of, 1, deterministic=True)
        connection.execute(_SHOWN)
        connection.execute(_WORDS)
        for address in ("reverse_path", "address"):
            connection.execute(_ADDRESSED.format(address=address))
    connection.close()


_MAILS = """
INSERT INTO mails (mail_id, spool_id, fingerprint, message_id, reverse_path, envelope, results, size,
trace_size, trace_sha256, filed, accepted_at, sender, author)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
SELECT i, printf('0%015d', i), lower(hex(randomblob(32))), printf('<%d@life.example>', i),
printf('s%d@life.example', i % 500), ?3, '{}', 2000, 100, x'00', 0, ?2 + i * ?4, '', NULL FROM n
"""
_ENTRIES = """
INSERT INTO entries (mail_id, instance_id, address, forward_paths, route, priority, state, due_at,
accepted_at, updated_at, contact_id, ready, network, domain) SELECT mail_id, '00000000-0000-0000-0000-000000000001',
'support@example.com', '[]', printf('r%d', mail_id % 5), 1, CASE WHEN mail_id <= ?1 THEN 'done'
WHEN mail_id <= ?2 THEN 'queued' WHEN mail_id <= ?3 THEN 'held' ELSE 'dead' END, accepted_at,
accepted_at, accepted_at + 1000000, iif(mail_id <= ?1, printf('c%d', mail_id), NULL), mail_id % 2,
mail_id % 50, mail_id % 500 FROM mails
"""
_LEDGER = """
INSERT INTO ledger (fingerprint, instance_id, address, spool_id, message_id, confirmed, contact_id,
accepted_at, route, tag, sender, dmarc, token, author) SELECT fingerprint, instance_id, address,
spool_id, message_id, 1, contact_id, mails.accepted_at, route, '', 'ann@customer.example', '',
printf('t%d', mail_id), 'ann@customer.example' FROM mails JOIN entries USING (mail_id) WHERE state = 'done'
"""
_SHOWN = """
INSERT INTO shown SELECT entry_id, cast(printf('{"subject":"Order %d","classification":"human","request":{"x":"%s"}}',
mail_id, hex(zeroblob(700))) AS BLOB) FROM entries WHERE state = 'done'
"""
_WORDS = """
INSERT INTO shown_words SELECT entry_id, iif(mail_id % 10, 'human', 'bulk'), iif(mail_id % 7, ' spf=pass dmarc=pass ',
' spf=pass dmarc=fail risk=file.macro '), printf('order %d of the quarter %s s%d@life.example support@example.com <%d@life.example>',
mail_id, iif(mail_id % 997, 'report', '請求書 東京'), mail_id % 500, mail_id) FROM entries WHERE state = 'done'
"""
_ADDRESSED = """
INSERT OR IGNORE INTO addressed SELECT mails.accepted_at / 86400000000, key_of({address}), spool_id
FROM mails JOIN entries USING (mail_id) WHERE state = 'done' ORDER BY 1, 2, 3
"""

"""The tables of the local spool, and the steps that brought them to their present form.

Owns the SQL of each step; `database` runs it. Owns the views, too, through which a command looks at a spool
of an earlier version: columns and tables that it lacks have their defaults. The views belong to the
connection and end with it, so nothing is written to the spool, and an older relay that is running is not
disturbed. SQLite finds temporary names first, so every query can be written as for our version.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from relay.spool.local.feed_tables import TABLES as FEED

_FIRST = """
CREATE TABLE mails (
    mail_id      INTEGER PRIMARY KEY,
    spool_id     TEXT NOT NULL UNIQUE,
    fingerprint  TEXT NOT NULL,
    message_id   TEXT,
    reverse_path TEXT,
    envelope     TEXT NOT NULL,
    results      TEXT NOT NULL,
    size         INTEGER NOT NULL,
    trace_size   INTEGER NOT NULL,
    trace_sha256 BLOB NOT NULL,
    filed        INTEGER NOT NULL,
    confirmed    INTEGER NOT NULL DEFAULT 0,
    accepted_at  INTEGER NOT NULL
);
-- The one index whose order is chance: each acceptance writes a page of it to the log. So it is narrow (48 bits
-- find the row, the row is compared as a whole), and there is none on what senders choose: the ledger finds the
-- Message-IDs of contacts; others, and addresses, are looked for by a person, who can wait for a walk.
CREATE INDEX mails_fingerprint ON mails (substr(fingerprint, 1, 12));
CREATE INDEX mails_filed ON mails (spool_id) WHERE filed = 1;

-- Apart, so that no listing ever walks over the octets of mails.
CREATE TABLE raws (
    mail_id INTEGER PRIMARY KEY REFERENCES mails ON DELETE CASCADE,
    octets  BLOB NOT NULL
);

CREATE TABLE entries (
    entry_id      INTEGER PRIMARY KEY AUTOINCREMENT,
    mail_id       INTEGER NOT NULL REFERENCES mails,
    instance_id   TEXT NOT NULL,
    address       TEXT NOT NULL,
    forward_paths TEXT NOT NULL,
    route         TEXT NOT NULL,
    priority      INTEGER NOT NULL,
    state         TEXT NOT NULL DEFAULT 'queued'
                  CHECK (state IN ('queued', 'leased', 'held', 'dead', 'done')),
    attempts      INTEGER NOT NULL DEFAULT 0,
    cut_short     INTEGER NOT NULL DEFAULT 0,
    due_at        INTEGER NOT NULL,
    lease_until   INTEGER,
    rung          TEXT NOT NULL DEFAULT 'full',
    contact_id    TEXT,
    reason        TEXT NOT NULL DEFAULT '',
    detail        TEXT NOT NULL DEFAULT '',
    accepted_at   INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
);
CREATE INDEX entries_mail ON entries (mail_id);
CREATE INDEX entries_state ON entries (state);
CREATE INDEX entries_due ON entries (route, priority, due_at) WHERE state = 'queued';
CREATE INDEX entries_leased ON entries (lease_until) WHERE state = 'leased';
CREATE INDEX entries_done ON entries (updated_at) WHERE state = 'done';
CREATE INDEX entries_contact ON entries (contact_id) WHERE contact_id IS NOT NULL;

CREATE TABLE requests (
    entry_id   INTEGER PRIMARY KEY REFERENCES entries ON DELETE CASCADE,
    request    BLOB NOT NULL,
    expires_at INTEGER NOT NULL
);

CREATE TABLE history (
    entry_id INTEGER NOT NULL REFERENCES entries ON DELETE CASCADE,
    at       INTEGER NOT NULL,
    event    TEXT NOT NULL,
    attempt  INTEGER NOT NULL,
    reason   TEXT NOT NULL,
    detail   TEXT NOT NULL
);
CREATE INDEX history_entry ON history (entry_id);

-- What is remembered of finished entries: written with the outcome, twice a second, not with the acceptance, a
-- thousand times a second. Until then the mail and its entries say the same.
CREATE TABLE ledger (
    fingerprint TEXT NOT NULL,
    instance_id TEXT NOT NULL,
    address     TEXT NOT NULL,
    spool_id    TEXT NOT NULL,
    message_id  TEXT,
    confirmed   INTEGER NOT NULL,
    contact_id  TEXT,
    accepted_at INTEGER NOT NULL
);
CREATE INDEX ledger_fingerprint ON ledger (fingerprint);
CREATE INDEX ledger_spool_id ON ledger (spool_id);
CREATE INDEX ledger_message_id ON ledger (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX ledger_contact ON ledger (contact_id) WHERE contact_id IS NOT NULL;
CREATE INDEX ledger_accepted_at ON ledger (accepted_at);

-- What an operator paused, and which routes an error of configuration holds.
CREATE TABLE control (
    subject TEXT NOT NULL CHECK (subject IN ('intake', 'delivery', 'route', 'hold')),
    name    TEXT NOT NULL,
    reason  TEXT NOT NULL DEFAULT '',
    detail  TEXT NOT NULL DEFAULT '',
    since   INTEGER NOT NULL,
    PRIMARY KEY (subject, name)
) WITHOUT ROWID;

-- Counted as rows come and go, so that quotas and metrics never scan.
CREATE TABLE totals (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO totals VALUES ('queued', 0), ('leased', 0), ('held', 0), ('dead', 0), ('done', 0), ('bytes', 0);
CREATE TRIGGER mails_in AFTER INSERT ON mails BEGIN
    UPDATE totals SET value = value + new.size WHERE name = 'bytes';
END;
CREATE TRIGGER mails_out AFTER DELETE ON mails BEGIN
    UPDATE totals SET value = value - old.size WHERE name = 'bytes';
END;
CREATE TRIGGER entries_in AFTER INSERT ON entries BEGIN
    UPDATE totals SET value = value + 1 WHERE name = new.state;
END;
CREATE TRIGGER entries_out AFTER DELETE ON entries BEGIN
    UPDATE totals SET value = value - 1 WHERE name = old.state;
END;
CREATE TRIGGER entries_moved AFTER UPDATE OF state ON entries WHEN old.state <> new.state BEGIN
    UPDATE totals SET value = value - 1 WHERE name = old.state;
    UPDATE totals SET value = value + 1 WHERE name = new.state;
END;
"""

_SECOND = """
-- Whether a person has let the mail go that the policy of its route had held: the policy is not asked again.
ALTER TABLE entries ADD COLUMN released INTEGER NOT NULL DEFAULT 0;
-- When an operator dropped the entry; such a row says what became of a mail, and makes no duplicate of the next.
ALTER TABLE ledger ADD COLUMN dropped_at INTEGER;
"""

_THIRD = """
-- What the rule of duplicates compares besides the octets and the destination (`duplicates`), NULL in rows from before.
-- The reverse-path without what changes with each try; "" is the null one.
ALTER TABLE mails ADD COLUMN sender TEXT;
-- The subaddress tag of the forward-paths; the route is there.
ALTER TABLE entries ADD COLUMN tag TEXT;
-- The one ClientToken of the entry; NULL: accepted before, until its next request is stored.
ALTER TABLE entries ADD COLUMN token TEXT;
-- When a request first went out under this token.
ALTER TABLE entries ADD COLUMN sent_at INTEGER;
-- The first request of which nobody knows whether it became a contact.
ALTER TABLE entries ADD COLUMN in_doubt_since INTEGER;
-- When the policy of the route dropped the entry: it vouches for no other.
ALTER TABLE entries ADD COLUMN dropped_at INTEGER;
-- The same of what is remembered, and what DMARC said.
ALTER TABLE ledger ADD COLUMN route TEXT;
ALTER TABLE ledger ADD COLUMN tag TEXT;
ALTER TABLE ledger ADD COLUMN sender TEXT;
ALTER TABLE ledger ADD COLUMN dmarc TEXT;
ALTER TABLE ledger ADD COLUMN token TEXT;
CREATE INDEX ledger_token ON ledger (token) WHERE token IS NOT NULL;
"""

_FOURTH = """
-- Mail at the last rung: the watch counts it at every look.
CREATE INDEX entries_original ON entries (entry_id) WHERE rung = 'original';
"""

_FIFTH = """
-- Whose turn an entry waits for: numbers made of the peer's network and of the reverse-path's domain (`turns.group_of`).
-- What an earlier version accepted is one group.
ALTER TABLE entries ADD COLUMN network INTEGER NOT NULL DEFAULT 0;
ALTER TABLE entries ADD COLUMN domain INTEGER NOT NULL DEFAULT 0;
-- Whether it was found to be due, and has had no lease since.
ALTER TABLE entries ADD COLUMN ready INTEGER NOT NULL DEFAULT 0;
CREATE INDEX entries_turn ON entries (route, priority, network, domain, due_at) WHERE state = 'queued' AND ready = 1;
CREATE INDEX entries_unready ON entries (route, due_at) WHERE state = 'queued' AND ready = 0;
-- The domain that was served last, of the networks served lately; `served` counts up, over all of them.
CREATE TABLE turns (
    route    TEXT NOT NULL,
    priority INTEGER NOT NULL,
    network  INTEGER NOT NULL,
    domain   INTEGER NOT NULL,
    served   INTEGER NOT NULL,
    PRIMARY KEY (route, priority, network)
) WITHOUT ROWID;
-- The author's address; NULL: none could be read, or accepted before. With `sender` it says whose conversation a contact
-- is. Each index leads past all that strangers made of one Message-ID to the first contact of its author, or sender.
ALTER TABLE mails ADD COLUMN author TEXT;
ALTER TABLE ledger ADD COLUMN author TEXT;
CREATE INDEX ledger_author ON ledger (message_id, author, accepted_at)
    WHERE author IS NOT NULL AND contact_id IS NOT NULL;
CREATE INDEX ledger_sender ON ledger (message_id, sender, accepted_at)
    WHERE sender IS NOT NULL AND contact_id IS NOT NULL;
"""

_SIXTH = """
-- What the first request was made of that a route's patterns captured, as JSON; NULL: none looked yet.
ALTER TABLE entries ADD COLUMN captured TEXT;
"""

_SEVENTH = """
-- The watch asks at every look when the last entry was held, and when the last became a dead letter.
CREATE INDEX entries_aside ON entries (state, updated_at) WHERE state IN ('held', 'dead');
"""

_EIGHTH = """
-- The spool's clock at the last look (`relay.spool.clock`), one row; all in microseconds. Instants in all tables are
-- instants of this clock, but `requests.expires_at`, which S3 judges by its own.
CREATE TABLE clock (
    one            INTEGER PRIMARY KEY CHECK (one = 1),
    boot           TEXT NOT NULL,
    base           INTEGER NOT NULL,
    shown          INTEGER NOT NULL,
    offset         INTEGER NOT NULL,
    stood_offset   INTEGER NOT NULL,
    stood_at       INTEGER NOT NULL,
    trusted_offset INTEGER NOT NULL,
    doubted        INTEGER NOT NULL,
    gap_at         INTEGER,
    gap_offset     INTEGER NOT NULL,
    gap_unsure     INTEGER NOT NULL
);
-- By how much the wall clock was ahead of it, from which instant on: so what is shown is what the wall clock showed.
CREATE TABLE clock_offsets (
    since  INTEGER PRIMARY KEY,
    offset INTEGER NOT NULL
);
"""

_NINTH = """
-- Mails of the ledger by the hash of each address (`addressed`), for 90 days; of entries up to this one not all are there.
CREATE TABLE addressed (
    day      INTEGER NOT NULL,
    address  INTEGER NOT NULL,
    spool_id TEXT NOT NULL,
    PRIMARY KEY (day, address, spool_id)
) WITHOUT ROWID;
CREATE TABLE marks (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO marks SELECT 'unaddressed', coalesce(max(entry_id), 0) FROM entries;
"""

_TENTH = """
-- Mails of a day that met a rule of the policy; `observe` is 1 where the rule did nothing. At most a thousand domains of a
-- day, and the rest as "other".
CREATE TABLE policy_days (
    day     TEXT NOT NULL,
    domain  TEXT NOT NULL,
    rule    TEXT NOT NULL,
    action  TEXT NOT NULL,
    observe INTEGER NOT NULL,
    route   TEXT NOT NULL,
    mails   INTEGER NOT NULL,
    PRIMARY KEY (day, domain, rule, action, observe, route)
) WITHOUT ROWID;
"""

_ELEVENTH = """
-- What happened on a day, for `relay report`: so many of each name and label, and the most of what was measured with them.
-- At most a thousand labels of a name and day, and the rest as "other".
CREATE TABLE day_counts (
    day    TEXT NOT NULL,
    name   TEXT NOT NULL,
    label  TEXT NOT NULL,
    number INTEGER NOT NULL,
    most   INTEGER NOT NULL,
    PRIMARY KEY (day, name, label)
) WITHOUT ROWID;
"""

_TWELFTH = """
-- Held mail that no rule of the policy holds: the watch asks at every look how much there is, and since when.
CREATE INDEX entries_held_otherwise ON entries (entry_id)
    WHERE state = 'held' AND substr(reason, 1, 7) <> 'policy.' AND substr(reason, 1, 6) <> 'class.';
"""

_THIRTEENTH = """
-- What the page shows of an entry, as its last outcome left it (`relay.spool.page`): a document of 8 KiB at most, apart
-- from what lists are filtered and searched by, so that they do not walk over documents.
CREATE TABLE shown (
    entry_id INTEGER PRIMARY KEY REFERENCES entries ON DELETE CASCADE,
    document BLOB NOT NULL
);
CREATE TABLE shown_words (
    entry_id       INTEGER PRIMARY KEY REFERENCES entries ON DELETE CASCADE,
    classification TEXT NOT NULL,
    marks          TEXT NOT NULL,
    words          TEXT NOT NULL
);
-- Finished entries up to this one may have neither.
INSERT INTO marks SELECT 'unshown', coalesce(max(entry_id), 0) FROM entries;
-- The page counts unfinished entries by reason. An entry gets one with an outcome, never with its acceptance.
CREATE INDEX entries_reason ON entries (state, route, reason)
    WHERE reason <> '' AND state IN ('queued', 'leased', 'held', 'dead');
"""

_FOURTEENTH = """
-- Who did what (`relay.spool.audit`): appended, never changed, and removed by nothing but age (`actions.forget`). `begun` is
-- the first row of an action that has several.
CREATE TABLE actions (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    via     TEXT NOT NULL,
    command TEXT NOT NULL,
    about   TEXT NOT NULL,
    stage   TEXT NOT NULL,
    counts  TEXT NOT NULL,
    reason  TEXT NOT NULL,
    detail  TEXT NOT NULL,
    begun   INTEGER
);
CREATE INDEX actions_at ON actions (at);
CREATE TRIGGER actions_stay BEFORE UPDATE ON actions BEGIN
    SELECT RAISE(ABORT, 'the audit is only appended to');
END;
"""

_FIFTEENTH = """
-- Mails whose octets go before their entries do: with the last unfinished entry (0), or gone (1).
CREATE TABLE forgotten (
    mail_id INTEGER PRIMARY KEY REFERENCES mails ON DELETE CASCADE,
    gone    INTEGER NOT NULL
);
"""

_SIXTEENTH = """
-- When the names in a record were erased (`erasure`): its sender, author and tag are keyed hashes then.
ALTER TABLE ledger ADD COLUMN erased_at INTEGER;
CREATE INDEX ledger_erased ON ledger (accepted_at) WHERE erased_at IS NOT NULL;
"""

_SEVENTEENTH = """
-- The instance of the last request. In the ledger: that of the contact, where it is not that of the way.
ALTER TABLE entries ADD COLUMN asked TEXT;
ALTER TABLE ledger ADD COLUMN asked TEXT;
-- The routes that an operator switched to their standby.
CREATE TABLE switches (route TEXT PRIMARY KEY, since INTEGER NOT NULL) WITHOUT ROWID;
"""

#: Each step brings a database from the version of its index to the next; it is never edited once released.
#: ADD COLUMN and CREATE change no row, so they need no copy and hardly any room; a step that rewrites rows
#: must copy the spool first.
MIGRATIONS = (
    _FIRST, _SECOND, _THIRD, _FOURTH, _FIFTH, _SIXTH, _SEVENTH, _EIGHTH, _NINTH, _TENTH, _ELEVENTH, _TWELFTH,
    _THIRTEENTH, _FOURTEENTH, _FIFTEENTH, _SIXTEENTH, _SEVENTEENTH, FEED,
)  # fmt: skip


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
    """The columns of a table, each with its default."""
    rows = connection.execute("SELECT name, coalesce(dflt_value, 'NULL') FROM pragma_table_info(?)", (table,))
    return [(str(name), str(value)) for name, value in rows]


def _query(connection: apsw.Connection, sql: str) -> list[Any]:
    """All rows of a query; the types of their columns are known from the schema, not to the type checker."""
    return connection.execute(sql).fetchall()


def _has_key(connection: apsw.Connection, table: str) -> bool:
    return bool(connection.execute("SELECT sum(pk) FROM pragma_table_info(?)", (table,)).get)

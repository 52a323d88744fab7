"""The tables of the feed, and the triggers that fill it.

Owns that SQL (a step of `schema`). Triggers, because outcomes come from several processes and commands: none
of them can forget the event. They write only while the feed is kept (the mark `feed`).
"""

from __future__ import annotations

_KEPT = "EXISTS (SELECT 1 FROM marks WHERE name = 'feed')"
_TELL = "INSERT INTO feed (at, kind, spool_id, entry, route, instance_id, contact_id, reason) SELECT"
_MAIL = "FROM mails WHERE mail_id = NEW.mail_id"

TABLES = f"""
-- What became of each mail, as it waits to be told (`relay.spool.feed`); `dead` is 1 where it was given up.
CREATE TABLE feed (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    at          INTEGER NOT NULL,
    kind        TEXT NOT NULL,
    spool_id    TEXT NOT NULL,
    entry       INTEGER NOT NULL,
    route       TEXT NOT NULL,
    instance_id TEXT NOT NULL,
    contact_id  TEXT,
    reason      TEXT NOT NULL,
    tries       INTEGER NOT NULL DEFAULT 0,
    due_at      INTEGER NOT NULL DEFAULT 0,
    dead        INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX feed_due ON feed (dead, due_at, number);
CREATE TRIGGER feed_accepted AFTER INSERT ON entries WHEN {_KEPT} BEGIN
    {_TELL} NEW.accepted_at, 'accepted', spool_id, NEW.entry_id, NEW.route, NEW.instance_id, NULL, '' {_MAIL};
    {_TELL} NEW.accepted_at, 'held', spool_id, NEW.entry_id, NEW.route, NEW.instance_id, NULL, NEW.reason {_MAIL}
    AND NEW.state = 'held';
END;
CREATE TRIGGER feed_put_aside AFTER UPDATE OF state ON entries
WHEN NEW.state IN ('held', 'dead') AND OLD.state <> NEW.state AND {_KEPT} BEGIN
    {_TELL} NEW.updated_at, NEW.state, spool_id, NEW.entry_id, NEW.route, coalesce(NEW.asked, NEW.instance_id), NULL,
    NEW.reason {_MAIL};
END;
CREATE TRIGGER feed_ended AFTER UPDATE OF contact_id ON entries WHEN NEW.state = 'done' AND {_KEPT} BEGIN
    {_TELL} NEW.updated_at, iif(NEW.dropped_at IS NULL, 'delivered', 'dropped'), spool_id, NEW.entry_id, NEW.route,
    coalesce(NEW.asked, NEW.instance_id), NEW.contact_id, NEW.reason {_MAIL};
END;
"""

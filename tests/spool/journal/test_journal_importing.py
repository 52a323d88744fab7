"""The import: each record becomes a mail once, whole and by the rule of duplicates, however often it is cut
short.
"""

from __future__ import annotations

import hashlib
from contextlib import closing, contextmanager

import pytest
from spool_helpers import NOW, build_config, build_destination, build_submission, tables_of

from relay.errors import SpoolCorruptError
from relay.faults import UnexpectedError, arm_fault
from relay.spool.ids import IdMaker
from relay.spool.local.database import transaction
from relay.spool.local.journal.importing import STEP, import_step
from relay.spool.local.journal.mail import build_confirmed, build_mail
from relay.spool.local.journal.record import build_record
from relay.spool.local.journal.segments import begin_segment, make_segment
from relay.spool.model import Filter, PolicyHold, State
from relay.spool.opening import open_desk, open_intake

HOUR = 3_600_000_000
SIZE = 4 << 20
IDS = IdMaker("MARK0", lambda: int(NOW.timestamp() * 1e6))


def mail_of(number, **more):
    """A mail that is equal to another of its number."""
    body = b"Subject: %d\r\n\r\nHello\r\n" % number
    return build_submission(IDS.new_id(), body=body, **{"message_id": f"<{number}@x>", **more})


def no_key():
    """The key of an erasure: there was none."""
    raise AssertionError("no record was erased")


class Spool:
    """A spool with tables, and segments beside it."""

    def __init__(self, home):
        self.config = build_config(home / "data")
        self.folder = home / "journal"
        self.folder.mkdir()
        self.segments = {}

    async def make(self):
        """Make the tables, as a receiver does."""
        await open_intake(self.config).close()

    def write(self, name, *records):
        """Append these records to a segment, which is made if it is not there."""
        path = self.folder / name
        if not path.exists():
            make_segment(path, SIZE)
            self.segments[name] = begin_segment(path, SIZE)
        segment = self.segments[name]
        with path.open("r+b") as file:
            for record in records:
                file.seek(segment.at)
                file.write(b"".join(build_record(record, segment.generation)))
                segment.at += record.size
        return path

    def import_all(self, path, *, limit=STEP):
        """Import all of a segment, in as many steps as it takes."""
        steps = []
        with tables_of(self.config.data_dir) as tables:
            while not steps or steps[-1].more:
                with transaction(tables):
                    steps.append(
                        import_step(tables, path, window_microseconds=HOUR, find_key=no_key, limit=limit)
                    )
        return steps

    @contextmanager
    def desk(self):
        """What an operator sees."""
        with closing(open_desk(self.config)) as desk:
            yield desk


@pytest.fixture
async def spool(tmp_path):
    spool = Spool(tmp_path)
    await spool.make()
    yield spool
    for segment in spool.segments.values():
        segment.close()


async def test_imported_mail_is_as_accepted_mail(spool):
    """Two mails of the same content, one by the journal and one by `put`: their rows tell nothing apart."""
    fields = {
        "destinations": (build_destination(), build_destination("held@example.com", route="held")),
        "references": ("<a@x>",),
        "author": "Ann@Example.org",
    }
    both = [
        mail_of(number, **fields)._replace(
            arrived_at=NOW,
            holds=(PolicyHold(route="held", reason="policy.x", detail="y"),),
            first=("support",),
            results={"relay_dmarc": "pass"},
        )
        for number in (1, 2)
    ]
    intake = open_intake(spool.config)
    await intake.put(both[0])
    await intake.close()
    (step,) = spool.import_all(spool.write("A.1", build_mail(both[1])))
    assert step.entries == 2
    with spool.desk() as desk:
        entries = [desk.select(Filter(ids=(mail.spool_id,))) for mail in both]
        for first, second in zip(*entries, strict=True):
            differ = {"entry_id", "spool_id", "fingerprint", "message_id", "token"}
            fields = [name for name in type(first).__slots__ if name not in differ]
            assert [getattr(first, name) for name in fields] == [getattr(second, name) for name in fields]
        assert {entry.state for entry in entries[1]} == {State.QUEUED, State.HELD}
        for mail in both:
            assert desk.export(mail.spool_id) == mail.raw
        with tables_of(spool.config.data_dir) as tables:
            rows = tables.execute("SELECT trace_sha256, priority, network, domain, sender, author FROM mails JOIN entries "
                                  "USING (mail_id) ORDER BY address, entry_id").fetchall()  # fmt: skip
            assert rows[0] == rows[1]
            assert rows[2] == rows[3]
            assert rows[0][0] == hashlib.sha256(b"Received: from x\r\n").digest()


async def test_import_goes_on_behind_what_was_imported(spool):
    """Each record once, over several steps and over records that come meanwhile."""
    path = spool.write("A.1", *(build_mail(mail_of(number)) for number in range(5)))
    assert [step.entries for step in spool.import_all(path, limit=2)] == [2, 2, 1]
    spool.write("A.1", build_mail(mail_of(5)))
    assert [step.entries for step in spool.import_all(path)] == [1]
    assert [step.entries for step in spool.import_all(path)] == [0]
    with spool.desk() as desk:
        assert desk.counts()[State.QUEUED] == 6


async def test_import_that_is_cut_short_begins_again(spool):
    """Rows and position are one transaction: what ends before its commit has done nothing."""
    path = spool.write("A.1", *(build_mail(mail_of(number)) for number in range(3)))
    arm_fault("journal.imported:raise:1")
    with pytest.raises(UnexpectedError):
        spool.import_all(path)
    arm_fault("")
    with spool.desk() as desk:
        assert desk.counts()[State.QUEUED] == 0
    assert [step.entries for step in spool.import_all(path)] == [3]


async def test_used_segment_is_imported_from_its_beginning(spool):
    """The position of its former generation says nothing of the new one."""
    path = spool.write("A.1", *(build_mail(mail_of(number)) for number in range(3)))
    spool.import_all(path)
    spool.segments["A.1"].close()
    spool.segments["A.1"] = begin_segment(path, SIZE)
    assert [step.entries for step in spool.import_all(path)] == [0]
    spool.write("A.1", build_mail(mail_of(7)))
    assert [step.entries for step in spool.import_all(path)] == [1]
    with tables_of(spool.config.data_dir) as tables:
        assert tables.execute("SELECT count(*) FROM marks WHERE name GLOB 'journal.*'").get == 1


async def test_same_mail_in_two_journals_is_one(spool):
    """Two receivers took it in the same millisecond: the import is the judge, and names the first."""
    first, second = mail_of(1), mail_of(1)
    spool.import_all(spool.write("A.1", build_mail(first)))
    (step,) = spool.import_all(spool.write("B.1", build_mail(second)))
    assert step == (0, ((second.spool_id, first.spool_id),), False)
    with spool.desk() as desk:
        assert [entry.spool_id for entry in desk.select(Filter())] == [first.spool_id]


async def test_mail_that_is_in_the_spool_already_is_not_imported(spool):
    """Accepted by `put` before, and sent again."""
    first, second = mail_of(1)._replace(arrived_at=NOW), mail_of(1)._replace(arrived_at=NOW)
    intake = open_intake(spool.config)
    await intake.put(first)
    await intake.close()
    (step,) = spool.import_all(spool.write("A.1", build_mail(second)))
    assert step.aliases == ((second.spool_id, first.spool_id),)


@pytest.mark.parametrize("is_seen", [True, False])
async def test_mail_without_a_message_id_is_judged_in_the_order_of_the_records(spool, is_seen):
    """Equal mails are two where the peer had seen the 250 of the first, and one where it had not."""
    first, second = mail_of(1, message_id=None), mail_of(1, message_id=None)
    confirmed = [build_confirmed([first.spool_id])] if is_seen else []
    path = spool.write("A.1", build_mail(first), *confirmed, build_mail(second))
    (step,) = spool.import_all(path)
    assert step.entries == (2 if is_seen else 1)
    assert len(step.aliases) == (0 if is_seen else 1)


async def test_record_of_a_newer_relay_stops_the_import_before_it(spool):
    """It and what follows stay in the journal, and nothing of that step is done."""
    strange = build_mail(mail_of(2))
    strange = strange._replace(facts=strange.facts.replace(b'"version":1', b'"version":9'))
    path = spool.write("A.1", build_mail(mail_of(1)), strange)
    with pytest.raises(SpoolCorruptError, match="in the form 9"):
        spool.import_all(path)
    with spool.desk() as desk:
        assert desk.counts()[State.QUEUED] == 0


async def test_segment_of_zeros_imports_nothing(spool):
    """One that was made and never begun."""
    make_segment(spool.folder / "A.1", SIZE)
    assert spool.import_all(spool.folder / "A.1") == [(0, (), False)]

"""Conversations: a mail that names another continues it only for who wrote that one."""

from __future__ import annotations

from datetime import timedelta

import pytest
from spool_helpers import NOW, build_destination, later

from relay.spool.local import conversations
from relay.spool.local.database import open_database, query

QUESTION = "<question@customer.example>"
ANN = {"reverse_path": "bounces@esp.example", "author": "ann@customer.example"}
MALLORY = {"reverse_path": "mallory@stranger.example", "author": "mallory@stranger.example"}


@pytest.fixture
def become(put, outbox):
    """Puts a mail that becomes the contact of this id."""

    async def become(contact_id, *, at=NOW, **like):
        spool_id = await put(at=at, **like)
        entries = await outbox.claim(now=at, limit=100, lease_seconds=60)
        (entry,) = [entry for entry in entries if entry.spool_id == spool_id]
        await outbox.finish(entry, contact_id=contact_id, now=at)

    return become


@pytest.fixture
def related(put, outbox):
    """The contact that a new mail is related to."""

    async def related(*ids, at=NOW, instance_id=None, **like):
        spool_id = await put(references=ids, at=at, **like)
        entries = await outbox.claim(now=at, limit=100, lease_seconds=60)
        (entry,) = [entry for entry in entries if entry.spool_id == spool_id]
        since = NOW - timedelta(days=90)
        return await outbox.find_contact(entry, message_ids=ids, since=since, instance_id=instance_id)

    return related


async def test_stranger_who_learned_a_message_id_gets_no_contact(become, related):
    """A Message-ID is no secret: only its author or its reverse-path lead to the contact."""
    await become("contact-1", message_id=QUESTION, **ANN)
    assert await related(QUESTION, **MALLORY) is None
    assert await related(QUESTION, reverse_path=None, author=None) is None
    assert await related(QUESTION, **ANN) == "contact-1"


@pytest.mark.parametrize(
    ("reverse_path", "author"),
    [
        ("other@esp.example", "ann@customer.example"),
        ("bounces@esp.example", "info@customer.example"),
        ("bounces@ESP.Example", None),
        (None, "ann@CUSTOMER.example"),
        ("prvs=0123456789=bounces@esp.example", None),
    ],
)
async def test_sender_is_known_by_either_address_in_any_spelling(become, related, reverse_path, author):
    """The author alone or the reverse-path alone is proof; the case of a domain and BATV are no
    part of it.
    """
    await become("contact-1", message_id=QUESTION, **ANN)
    assert await related(QUESTION, reverse_path=reverse_path, author=author) == "contact-1"


async def test_forwarded_sender_is_known_at_each_try(become, related):
    """What SRS puts in front of a forwarded reverse-path is other each day."""
    path = "SRS0={}=customer.example=ann@forwarder.example"
    await become("contact-1", message_id=QUESTION, reverse_path=path.format("HHHH=TT"))
    assert await related(QUESTION, reverse_path=path.format("AbCd=Z9")) == "contact-1"
    assert await related(QUESTION, reverse_path=path.format("AbCd=Z9").replace("ann", "eve")) is None


async def test_null_reverse_path_is_no_proof(become, related):
    """All the bounces of the world have one reverse-path."""
    await become("contact-1", message_id=QUESTION, reverse_path=None, author=None)
    assert await related(QUESTION, reverse_path=None, author=None) is None


async def test_stranger_who_uses_a_message_id_again_captures_no_reply(become, related):
    """Of several contacts of one Message-ID a reply belongs to the first of its own sender, whoever came
    when.
    """
    await become("contact-0", message_id=QUESTION, **MALLORY)
    await become("contact-1", message_id=QUESTION, at=later(1), **ANN)
    await become("contact-2", message_id=QUESTION, at=later(2), **MALLORY)
    await become("contact-3", message_id=QUESTION, at=later(3), **ANN)
    assert await related(QUESTION, at=later(4), **ANN) == "contact-1"
    assert await related(QUESTION, at=later(4), **MALLORY) == "contact-0"


async def test_newest_of_ones_own_mails_is_continued(become, related):
    """In a long conversation the last contact is the one that is answered, also beside strangers'
    newer ones.
    """
    await become("contact-1", message_id="<1@x>", **ANN)
    await become("contact-2", message_id="<2@x>", at=later(1), **ANN)
    await become("contact-3", message_id="<3@x>", at=later(2), **MALLORY)
    assert await related("<1@x>", "<2@x>", "<3@x>", at=later(3), **ANN) == "contact-2"


async def test_contact_of_another_instance_is_passed_over(become, related):
    """The first contact is that of the instance that is asked for."""
    elsewhere = (build_destination(instance_id="00000000-0000-0000-0000-000000000002"),)
    await become("contact-1", message_id=QUESTION, destinations=elsewhere, **ANN)
    await become("contact-2", message_id=QUESTION, at=later(1), **ANN)
    assert (
        await related(QUESTION, at=later(2), instance_id="00000000-0000-0000-0000-000000000001", **ANN)
        == "contact-2"
    )


async def test_stranger_who_answers_a_customers_mail_has_no_priority(become, put, outbox):
    """Only who answers a contact of his own goes before new mail; with three strangers' mails before
    it, too.
    """
    await become("contact-1", message_id=QUESTION, **ANN)
    await put(**MALLORY)  # new mail had no claim lately, and gets the first
    strangers = [await put(references=[QUESTION], **MALLORY) for _ in range(3)]
    reply = await put(references=[QUESTION], at=later(1), **ANN)
    claimed = [entry.spool_id for entry in await outbox.claim(now=later(1), limit=5, lease_seconds=60)]
    assert claimed.index(reply) <= 1
    assert set(strangers) < set(claimed)


async def test_reuse_of_a_message_id_makes_no_question_dearer(spool, become, outbox):
    """With 20,000 contacts of a stranger's under one Message-ID, the customer's own is found in as many
    steps.
    """
    await become("contact-1", message_id=QUESTION, **ANN)
    connection = open_database(spool.config.data_dir / "spool" / "spool.db")
    counted = [0]

    def count() -> bool:
        counted[0] += 1
        return False

    def steps() -> int:
        counted[0] = 0
        connection.set_progress_handler(count, 1)
        mails = [([QUESTION], "ann@customer.example", "bounces@esp.example"), ([QUESTION], "x@y", "")]
        assert conversations.find_answers(connection, mails, at=0) == {0}
        connection.set_progress_handler(None)
        return counted[0]

    few = steps()
    connection.execute(
        "WITH RECURSIVE series (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM series WHERE value < 20000) "
        "INSERT INTO ledger (fingerprint, instance_id, address, spool_id, message_id, confirmed, contact_id, accepted_at, "
        "author, sender) SELECT 'f', 'i', 'a', 's', ?, 1, 'c', 1, 'mallory@stranger.example', '' FROM series",
        (QUESTION,),
    )
    assert query(connection, "SELECT count(*) FROM ledger") == [(20_001,)]
    assert steps() <= few + 10
    connection.close()

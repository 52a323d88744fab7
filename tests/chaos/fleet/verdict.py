"""The verdict over a fleet after a campaign, by the rows of its table and by what Connect has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from email.message import EmailMessage

from fleet_nodes import Nodes

from relay.aws.values import Item
from relay.spool.fleet.encoding import parse_entry, parse_mail
from relay.spool.fleet.records import EntryRecord
from relay.spool.model import State


def entries_of(rows: Iterable[Item]) -> list[EntryRecord]:
    """The entries among the rows."""
    return [parse_entry(row) for row in rows if row["pk"].startswith("M#") and row["sk"].startswith("E#")]


def unfinished(rows: Iterable[Item]) -> Counter[str]:
    """How many entries are not done, by state."""
    return Counter(str(each.state) for each in entries_of(rows) if each.state is not State.DONE)


def owed_by(mails: Iterable[EmailMessage]) -> set[tuple[str, str]]:
    """What was promised: a contact for each mail and each of its destinations."""
    return {(str(mail["Message-ID"]), to) for mail in mails for to in str(mail["To"]).split(", ")}


def explain(
    rows: Iterable[Item], by_rows: Counter[tuple[str | None, str]], owed: set[tuple[str, str]]
) -> str:
    """The rows behind entries that are too many or too few."""
    odd = {key[0] for key in (Counter(owed) - by_rows) | (by_rows - Counter(owed))}
    mails = [parse_mail(row) for row in rows if row["sk"] == "M"]
    ids = {mail.spool_id: mail for mail in mails if mail.message_id in odd}
    told = [
        f"{each.spool_id} {each.message_id} {each.fingerprint[:9]} {each.node} {each.sender}"
        for each in ids.values()
    ]
    told += [
        f"{each.reference} {each.destination} {each.state} {each.token}"
        for each in entries_of(rows)
        if each.spool_id in ids
    ]
    told += [
        str({key: value for key, value in row.items() if key != "op"})
        for row in rows
        if row["pk"].startswith("G#") and str(row.get("sid")) in ids
    ]
    return "\n".join([*map(str, sorted(odd)), *told])


def judge(fleet: Nodes, mails: Sequence[EmailMessage]) -> None:
    """Fail unless what is owed is what arrived: nothing is missing, nothing came twice, nothing is leased."""
    owed = owed_by(mails)
    rows = fleet.rows()
    entries = entries_of(rows)
    message_ids = {
        mail.spool_id: mail.message_id for mail in (parse_mail(row) for row in rows if row["sk"] == "M")
    }
    by_rows = Counter((message_ids[each.spool_id], each.destination.address) for each in entries)
    assert not [row for row in rows if row.get("q")], "nothing waits, and nothing is left leased"
    assert {each.state for each in entries} == {State.DONE}
    # each mail has one entry for each destination, and no other
    assert (Counter(owed) - by_rows, by_rows - Counter(owed)) == ({}, {}), explain(rows, by_rows, owed)
    guards = [row for row in rows if row["pk"].startswith("G#")]
    ledger = [row for row in rows if row["pk"].startswith("L#")]
    assert (len(guards), len(ledger)) == (len(owed), len(owed))

    contacts = {contact.contact_id: contact.request for contact in fleet.box.book.select()}
    by_contact = Counter(
        (request["Attributes"]["relay_message_id"], request["DestinationEmailAddress"])
        for request in contacts.values()
    )
    missing, twice = owed - by_contact.keys(), [key for key, count in by_contact.items() if count > 1]
    assert (missing, twice, by_contact.keys() - owed) == (set(), [], set())
    told = Counter(each.contact_id for each in entries)
    assert told == Counter([*contacts]), "each entry knows its own contact"

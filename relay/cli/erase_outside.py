"""The part of `relay erase` outside of the spool: objects in S3 with all their versions, and the words of
contacts.

Owns where these are looked for, and which attributes of a contact are ours. What cannot be removed becomes a
sentence, and stops nothing: the spool still knows the ids, so that the same command goes on another time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from relay.aws.clients import Clients, open_clients
from relay.aws.contacts import Contacts
from relay.aws.versions import Versions
from relay.check.live.bench import again
from relay.config.contact import captured_names
from relay.config.model import Config
from relay.contact.attribute_names import MEANINGS
from relay.delivery.pace import Pace
from relay.errors import RelayError, RemoteError
from relay.spool.erasure import FoundMail

#: What no call of Connect's removes.
_BUCKET = (
    "Connect's own bucket (its data storage) keeps the messages and files of {count:,} contacts: remove them there, with "
    "all versions; it takes no Object Lock"
)
_RECORDS = (
    "Connect keeps their records for 24 months, without what was removed; so do flow logs, data streams and Customer "
    "Profiles, where the instance has them"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """The result outside of the spool."""

    #: Versions of objects that were removed.
    objects: int = 0
    #: Contacts whose words were.
    contacts: int = 0
    #: Sentences about what stays and could go: the command is run again for it.
    left: tuple[str, ...] = ()
    #: Sentences about what stays with others.
    elsewhere: tuple[str, ...] = ()


def erase_outside(config: Config, mails: Sequence[FoundMail], *, connect: bool) -> Outside:
    """Remove what is outside of the spool of these mails; of contacts only where `connect` says so."""
    mails = [mail for mail in mails if not mail.is_owed]
    if not mails:
        return Outside()
    return asyncio.run(_erase(config, mails, connect=connect))


def erase_raw_versions(config: Config, mails: Sequence[FoundMail]) -> Outside:
    """Remove every version of the raw mails and requests of a fleet's spool, whose bucket may keep versions;
    their records are gone by then. A local spool has no such objects.
    """
    if not config.fleet.table or not mails:
        return Outside()
    return asyncio.run(_erase_raw(config, mails))


async def _erase_raw(config: Config, mails: Sequence[FoundMail]) -> Outside:
    objects, left = 0, list[str]()
    try:
        async with open_clients(config) as clients:
            versions = Versions(await clients.abroad.find_s3(config.fleet.region or None), config.s3.bucket)
            for mail in mails:
                for prefix in (f"raw/{mail.spool_id}", f"req/{mail.spool_id}."):
                    removed = await again(partial(versions.remove_below, f"{config.fleet.prefix}{prefix}"))
                    objects += removed.count
                    left += removed.left
    except RelayError as exc:
        left.append(f"versions of raw mails may stay in the bucket of the fleet: {exc}")
    return Outside(objects=objects, left=tuple(left))


async def _erase(config: Config, mails: Sequence[FoundMail], *, connect: bool) -> Outside:
    try:
        async with open_clients(config) as clients:
            contacts, left = await _blank_all(config, clients, mails) if connect else (0, list[str]())
            objects = 0
            async for removed, said in _remove_all(config, clients, mails):
                objects += removed
                left += said
    except RelayError as exc:  # of the set-up: no client can be made
        return Outside(left=(f"nothing was removed from S3 or Connect: {exc}",))
    elsewhere = (_BUCKET.format(count=contacts), _RECORDS) if contacts else ()
    return Outside(objects=objects, contacts=contacts, left=tuple(left), elsewhere=elsewhere)


async def _remove_all(
    config: Config, clients: Clients, mails: Sequence[FoundMail]
) -> AsyncIterator[tuple[int, Sequence[str]]]:
    """Remove the objects of each mail in turn. Gives the number of versions, and sentences about what
    stays.
    """
    for mail in mails:
        places = {}
        for entry in mail.entries:
            place = config.of_instance(entry.instance_id).s3
            region = config.connect.find(entry.instance_id).bucket_region
            places[place.bucket, f"{place.prefix}{mail.spool_id}/"] = region
        for (bucket, prefix), region in places.items():
            try:
                versions = Versions(await clients.abroad.find_s3(region), bucket)
                removed = await again(partial(versions.remove_below, prefix))
            except RemoteError as exc:
                yield 0, (f"what is below s3://{bucket}/{prefix} may stay: {exc.code}: {exc.detail}",)
            else:
                yield removed.count, removed.left


async def _blank_all(config: Config, clients: Clients, mails: Sequence[FoundMail]) -> tuple[int, list[str]]:
    """Remove the words of each contact. Returns the number of contacts, and sentences about what stays."""
    found = {
        (entry.instance_id, entry.contact_id): mail.attributes
        for mail in mails
        for entry in mail.entries
        if entry.contact_id
    }
    paces: dict[str, Pace] = {}
    left: list[str] = []
    for (instance_id, contact_id), handlers in found.items():
        client = await clients.abroad.find(config.connect.find(instance_id))
        if instance_id not in paces:
            rate = config.connect.adopt(instance_id).requests_per_second / 2  # the other half is for mail
            paces[instance_id] = Pace(rate=rate, burst=1, clock=asyncio.get_running_loop().time)
        one = _Words(config, Contacts(client, instance_id), contact_id, paces[instance_id])
        left += [sentence async for sentence in one.blank(handlers)]
    return len(found), left


class _Words:
    """The words of one contact that came from us."""

    def __init__(self, config: Config, contacts: Contacts, contact_id: str, pace: Pace) -> None:
        self._config = config
        self._contacts = contacts
        self._id = contact_id
        self._pace = pace

    async def blank(self, handlers: Iterable[str]) -> AsyncIterator[str]:
        """Remove them, each where Connect takes it. Gives a sentence about what stays."""
        for call, action, what in (
            (partial(self._blank_attributes, handlers), "UpdateContactAttributes", "attributes"),
            (self._blank_words, "UpdateContact", "name, description and references"),
            (self._delete_data, "DeleteContactData", "sender, recipients and subject"),
        ):
            try:
                await self._pace.turn()
                await again(call)
            except RemoteError as exc:
                yield f"contact {self._id}: {what} stay: {_tell(exc, action)}"

    async def _blank_attributes(self, handlers: Iterable[str]) -> None:
        there = await self._contacts.read_attributes(self._id)
        ours = [name for name in find_ours(self._config, there, handlers) if there[name]]
        if ours:
            await self._pace.turn()
            await self._contacts.blank_attributes(self._id, ours)

    async def _blank_words(self) -> None:
        tables = (self._config.contact, *self._config.routes)
        await self._contacts.blank_words(
            self._id, {name: each.type for table in tables for name, each in table.references.items()}
        )

    async def _delete_data(self) -> None:
        await self._contacts.delete_data(self._id)


def find_ours(config: Config, there: Mapping[str, str], handlers: Iterable[str]) -> Iterator[str]:
    """The attributes of a contact that the relay gave it: by our prefix, by the configuration as it is now,
    by its captures, and those that handlers had set.
    """
    prefix = config.contact.attribute_prefix
    tables = (config.contact, *config.routes)
    named = {name for table in tables for name in table.attributes} | {*captured_names(*tables), *handlers}
    for name in there:
        is_own = name.startswith(prefix) if prefix else name in MEANINGS
        if is_own or name in named:
            yield name


def _tell(error: RemoteError, action: str) -> str:
    """The reason in words, with what a person can do."""
    if error.code == "AccessDeniedException":
        advice = f"allow connect:{action}"
        return f"{advice} and connect:GetContactAttributes" if action == "UpdateContactAttributes" else advice
    if error.code == "ResourceNotFoundException":
        return "the instance knows no such contact"
    if action == "DeleteContactData" and error.code == "InvalidRequestException":
        return f"run this again when the contact has ended ({error.detail})"
    return f"{error.code}: {error.detail}"

"""Discovery: each instance is asked for its own settings, at the start and every hour.

Owns when instances are asked, what is told of the answers, and which addresses are missed. What is adopted is
decided by `relay.config.discovered`. An instance that does not answer, or answers what cannot be, changes
nothing. Never sends a contact, and never keeps a mail back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from relay import telemetry
from relay.aws.instance import describe_files, list_addresses
from relay.aws.proof import unproven
from relay.config import Config
from relay.config.connect import Instance
from relay.config.discovered import Discovered, find_destinations, list_differences
from relay.config.remembered import DiscoveredFile
from relay.domains import normalise_address
from relay.errors import ConfigError, RemoteError
from relay.routes import RouteTable
from relay.timing import is_set_within

#: Seconds between two looks, and the least after one that failed; the pause doubles up to the first.
_LOOK_SECONDS = 3_600.0
_AGAIN_SECONDS = 60.0
#: The longest that a first start waits for the first look, where nothing is remembered.
_FIRST_SECONDS = 5.0
#: Addresses that are told as missing: more of them are one mistake, and one person reads the alarms.
_MOST_MISSING = 50
_Told = TypeVar("_Told")


class Discovery:
    """The settings of all instances, as they were told last."""

    def __init__(
        self, config: Config, *, find_client: Callable[[Instance], Awaitable[Any]], file: DiscoveredFile
    ) -> None:
        self._config = config
        self._find_client = find_client
        self._file = file
        #: The settings by instance. Replaced as a whole, and only where something is another.
        self._found: Mapping[str, Discovered] = file.load() if config.connect.discover else {}
        #: The trouble of each question, by instance and action, as it was told.
        self._trouble: dict[tuple[str, str], str] = {}
        self._differences: dict[str, tuple[str, ...]] = {}
        self._first = asyncio.Event()
        self._changed = asyncio.Event()

    def found(self) -> Mapping[str, Discovered]:
        """The settings by instance; none where `connect.discover` is off."""
        return self._found

    def missing(self) -> Mapping[str, str]:
        """The addresses of routes that their instance does not have, each with the instance."""
        missing = {
            address: instance_id
            for instance_id, each in self._found.items()
            if each.addresses is not None
            for address in (find_destinations(self._config, instance_id) - each.addresses) | each.gone
        }
        return {address: missing[address] for address in sorted(missing)[:_MOST_MISSING]}

    def reload(self, config: Config) -> None:
        """Ask by another configuration, at once. Addresses that are gone are forgotten: its routes may lead
        elsewhere.
        """
        self._config = config
        self._trouble.clear()
        kept = {each: self._found[each] for each in config.list_instances() if each in self._found}
        wanted = kept if config.connect.discover else {}
        self._adopt({name: replace(each, gone=frozenset()) for name, each in wanted.items()})
        self._changed.set()

    async def wait_first(self) -> None:
        """Wait for the first look where nothing is known yet, for some seconds at most."""
        if self._config.connect.discover and not self._found:
            await is_set_within(self._first, _FIRST_SECONDS)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        pause = _AGAIN_SECONDS
        while True:
            self._changed.clear()
            whole = await self._look_in_any_case()
            self._first.set()
            await is_set_within(self._changed, _LOOK_SECONDS if whole else pause)
            pause = _AGAIN_SECONDS if whole else min(2 * pause, _LOOK_SECONDS)

    async def _look_in_any_case(self) -> bool:
        """Look where that is wanted. Returns whether nothing is left to be asked again soon."""
        if not self._config.connect.discover:
            return True
        try:
            return await self.look()
        except Exception:  # noqa: BLE001 - mail is delivered without it, and the next look is tried
            telemetry.fault_caught(where="discovery.look")
            return False

    async def look(self) -> bool:
        """Ask every instance once. Returns whether all of them told everything."""
        config = self._config
        names = config.list_instances()
        answers = await asyncio.gather(*(self._look_at(config, name) for name in names))
        if config is not self._config:
            return True  # a reload has come meanwhile, and asks anew
        self._adopt(dict(zip(names, answers, strict=True)))
        for name in names:
            self._tell_differences(name)
        await asyncio.to_thread(self._file.save, self._found)
        return not self._trouble

    def _adopt(self, found: Mapping[str, Discovered]) -> None:
        if found != self._found:
            self._found = found

    async def _look_at(self, config: Config, instance_id: str) -> Discovered:
        """The settings of one instance: those that it told now, else those that were known."""
        known = self._found.get(instance_id, Discovered())
        try:
            client = await self._find_client(config.connect.find(instance_id))
        except ConfigError as exc:
            self._note(instance_id, "", code="configuration", detail=str(exc))
            return known
        self._note(instance_id, "")
        files, addresses = await asyncio.gather(
            self._ask(instance_id, "DescribeAttachedFilesConfiguration", describe_files(client, instance_id)),
            self._ask(instance_id, "SearchEmailAddresses", _list_some(client, instance_id)),
        )
        if files is not None:
            size = files.max_attachment_bytes
            known = replace(known, extensions=files.extensions, max_attachment_bytes=size)
        if addresses is not None:
            lost = (known.gone | (known.addresses or frozenset())) - addresses
            known = replace(known, addresses=addresses, gone=_keep_ours(config, instance_id, lost))
        return known

    async def _ask(self, instance_id: str, action: str, question: Awaitable[_Told]) -> _Told | None:
        """The answer to a question. Returns None where there is none that can be believed."""
        try:
            answer = await question
        except RemoteError as exc:
            self._note(instance_id, action, code=exc.code, detail=exc.detail)
            return None
        self._note(instance_id, action)
        return answer

    def _note(self, instance_id: str, action: str, *, code: str = "", detail: str = "") -> None:
        """Tell a trouble that is new, and its end."""
        key = (instance_id, action)
        if code and self._trouble.get(key) != code:
            telemetry.instance_unread(instance_id=instance_id, action=action, code=code, detail=detail)
            self._trouble[key] = code
        elif not code and key in self._trouble:
            del self._trouble[key]
            telemetry.instance_read(instance_id=instance_id, action=action)

    def _tell_differences(self, instance_id: str) -> None:
        told = tuple(list_differences(self._config, instance_id, self._found[instance_id]))
        if told and told != self._differences.get(instance_id):
            telemetry.instance_differs(instance_id=instance_id, differences=told)
        self._differences[instance_id] = told


async def _list_some(client: Any, instance_id: str) -> frozenset[str]:
    """The addresses of an instance that has some: with none at all, a filter has answered, or each mail meets
    the truth by itself.
    """
    found = await list_addresses(client, instance_id)
    if not found:
        raise unproven("connect", "it tells no address at all")
    return found


def _keep_ours(config: Config, instance_id: str, addresses: frozenset[str]) -> frozenset[str]:
    """The addresses of an instance to which our routes deliver."""
    routes = RouteTable(config)
    found = {address: routes.match(address) for address in addresses}
    return frozenset(
        address
        for address, routed in found.items()
        if routed is not None
        and routed.instance_id == instance_id
        and normalise_address(routed.address) == address
    )

"""The settings of instances as Connect told them, and the configuration that goes by them.

Owns what is adopted of an instance's own settings, and the sentences about those that differ from the file's.
A limit of the file that is not the default stays the most that is used: it may be a policy of the operator's.
Never reads a file or the network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from relay.config.model import Config
from relay.contact.limits import ATTACHMENT_BYTES, DEFAULT_EXTENSIONS
from relay.domains import normalise_address

#: Extensions of an instance: ten times what AWS allows by default, so that a list without end is none.
MOST_EXTENSIONS = 200
#: Addresses of an instance: the quota is 500 and can be raised (administrator guide, "Email addresses").
MOST_ADDRESSES = 10_000
#: The sizes that an instance's attachments may be limited to: 1 MB at least on the page of its administrator,
#: 100 MB at most by the API (administrator guide; API reference, `MaximumSizeLimitInBytes`).
LEAST_BYTES, MOST_BYTES = 1_048_576, 104_857_600
_EXTENSION = re.compile(r"[a-z0-9_-]{1,10}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """The settings of one instance; None for what it did not tell."""

    extensions: tuple[str, ...] | None = None
    #: At most what an e-mail's attachment may have in any instance.
    max_attachment_bytes: int | None = None
    addresses: frozenset[str] | None = None
    #: Addresses that the instance had at an earlier look, and has no more.
    gone: frozenset[str] = frozenset()


def read_extensions(found: object) -> tuple[str, ...]:
    """The extensions in lower case, sorted and without dots.

    Raises:
        ValueError: a sentence about what is no list of extensions.
    """
    if not isinstance(found, list | tuple) or not 1 <= len(found) <= MOST_EXTENSIONS:
        raise ValueError(f"the file types are no list of 1 to {MOST_EXTENSIONS}")
    names = {str(each).lower().removeprefix(".") for each in found if isinstance(each, str)}
    if len(found) != sum(isinstance(each, str) for each in found) or not all(
        map(_EXTENSION.fullmatch, names)
    ):
        raise ValueError("a file type is none")
    return tuple(sorted(names))


def read_size(found: object) -> int:
    """The octets of one attachment, at most those of any instance.

    Raises:
        ValueError: a sentence about what is no such size.
    """
    if not isinstance(found, int) or isinstance(found, bool) or not LEAST_BYTES <= found <= MOST_BYTES:
        raise ValueError(f"the largest file has no size from {LEAST_BYTES:,} to {MOST_BYTES:,} bytes")
    return min(found, ATTACHMENT_BYTES)


def read_addresses(found: object) -> frozenset[str]:
    """The addresses, each in one spelling.

    Raises:
        ValueError: a sentence about what is no list of addresses.
    """
    if not isinstance(found, list | tuple) or len(found) > MOST_ADDRESSES:
        raise ValueError(f"the addresses are no list of at most {MOST_ADDRESSES:,}")
    if not all(isinstance(each, str) and 3 <= len(each) <= 255 and "@" in each for each in found):
        raise ValueError("an address is none")
    return frozenset(map(normalise_address, found))


def adopt_discovered(config: Config, found: Mapping[str, Discovered]) -> Config:
    """The configuration with the instances' own limits. Returns itself where nothing is another."""
    connect = config.connect
    tables = dict(connect.instances)
    for instance_id, each in found.items():
        if given := dict(_adopted(config, instance_id, each)):
            tables[instance_id] = connect.find(instance_id).model_copy(update=given)
    if tables == connect.instances:
        return config
    return config.model_copy(update={"connect": connect.model_copy(update={"instances": tables})})


class Snapshots:
    """The configuration with the settings that its instances have told; made anew when these change."""

    def __init__(self, config: Config, found: Callable[[], Mapping[str, Discovered]]) -> None:
        """`found` returns the same object as long as nothing has changed."""
        self._config = config
        self._found = found
        self._last: Mapping[str, Discovered] = {}
        self._adopted = config

    def take(self) -> Config:
        """The configuration for one request: it is fitted and checked by the same."""
        found = self._found()
        if found is not self._last:
            self._last, self._adopted = found, adopt_discovered(self._config, found)
        return self._adopted


def _adopted(config: Config, instance_id: str, found: Discovered) -> Iterator[tuple[str, Any]]:
    """The keys of the instance's table that are to be others, with their values."""
    file = config.connect.adopt(instance_id)
    types, size = found.extensions, found.max_attachment_bytes
    if types is not None and set(file.allowed_extensions) != set(DEFAULT_EXTENSIONS):
        types = tuple(each for each in file.allowed_extensions if each in types)
    if types is not None and set(types) != set(file.allowed_extensions):
        yield "allowed_extensions", types
    if size is not None and size < file.max_attachment_bytes:
        yield "max_attachment_bytes", size


def list_differences(config: Config, instance_id: str, found: Discovered) -> Iterator[str]:
    """The sentences about limits of an instance that are not those of the configuration."""
    file = config.connect.adopt(instance_id)
    if found.extensions is not None:
        more = sorted(set(found.extensions) - set(file.allowed_extensions))
        less = sorted(set(file.allowed_extensions) - set(found.extensions))
        if more:
            yield f"it takes {', '.join(more)}, which the configuration does not have"
        if less:
            yield f"it does not take {', '.join(less)}"
    size = found.max_attachment_bytes
    if size is not None and size != file.max_attachment_bytes:
        yield f"it takes files of {size:,} bytes, and the configuration says {file.max_attachment_bytes:,}"


def find_destinations(config: Config, instance_id: str) -> frozenset[str]:
    """The addresses that routes of this instance name, each in one spelling.

    A catch-all that delivers to the recipient names none.
    """
    return frozenset(
        normalise_address(address)
        for route in config.routes
        if instance_id in (route.instance_id or config.connect.instance_id, route.standby)
        for address in ([route.destination] if route.destination else route.match)
        if not address.startswith("@") and "*" not in address
    )


def build_discovered_json(found: Mapping[str, Discovered]) -> str:
    """The discovered settings as JSON, to be remembered over a restart."""
    return json.dumps(
        {
            instance_id: {
                "extensions": each.extensions,
                "max_attachment_bytes": each.max_attachment_bytes,
                "addresses": None if each.addresses is None else sorted(each.addresses),
                "gone": sorted(each.gone),
            }
            for instance_id, each in found.items()
        }
    )


def parse_discovered_json(text: str) -> dict[str, Discovered]:
    """The settings that `build_discovered_json` wrote. Returns none where they cannot be read."""
    try:
        record = json.loads(text)
        return {str(instance_id): _parse(each) for instance_id, each in record.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _parse(record: Mapping[str, Any]) -> Discovered:
    types, size, addresses = record["extensions"], record["max_attachment_bytes"], record["addresses"]
    return Discovered(
        extensions=None if types is None else read_extensions(types),
        max_attachment_bytes=None if size is None else read_size(size),
        addresses=None if addresses is None else read_addresses(addresses),
        gone=read_addresses(record["gone"]),
    )

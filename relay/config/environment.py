"""The configuration from the environment: `RELAY_…` variables laid over what the file says.

`RELAY_S3__BUCKET` is `bucket` of `[s3]`; `RELAY_LISTENERS__0__BIND` is `bind` of the first `[[listeners]]`.
A value is read as TOML where the key is a number, a truth value, a list or a table, and as it stands where
the key is text. Owns that mapping. Never reads the environment itself: it is an argument.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, MutableMapping, MutableSequence
from typing import Any

from relay.config.keys import is_list, is_text, type_at

PREFIX = "RELAY_"
#: The variable that names the file; it is no key.
CONFIG = "RELAY_CONFIG"
# Variables that are no keys; relay.faults reads the second, for tests of crashes.
_NOT_KEYS = {CONFIG, "RELAY_FAULT_POINT"}
# Kubernetes gives every pod RELAY_SERVICE_HOST, RELAY_PORT_25_TCP_ADDR and the like for a Service named
# "relay", and RELAY_SMTP_SERVICE_HOST for one named "relay-smtp".
_KUBERNETES = re.compile(
    r"RELAY_(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_[A-Z]+)?)"
)
# RELAY_SMTP_PORT would pass for anybody's variable; its value, "tcp://10.0.0.1:25", is Kubernetes' own.
_KUBERNETES_PORT = re.compile(r"RELAY_(?:[A-Z0-9_]+_)?PORT")
_KUBERNETES_URL = re.compile(r"(?:tcp|udp|sctp)://[0-9A-Za-z.:\[\]-]+:\d+")

KeyPath = tuple[str | int, ...]


def _path(name: str) -> KeyPath:
    steps = name.removeprefix(PREFIX).lower().split("__")
    return tuple(int(step) if step.isascii() and step.isdigit() else step for step in steps)


def _is_of_kubernetes(name: str, value: str) -> bool:
    """Returns whether a variable tells of a Service of the cluster, and is no key."""
    if _KUBERNETES.fullmatch(name):
        return True
    return _KUBERNETES_PORT.fullmatch(name) is not None and _KUBERNETES_URL.fullmatch(value) is not None


def _parse_value(text: str, kind: Any) -> Any:
    if is_text(kind):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _put(data: MutableMapping[str, Any], path: KeyPath, value: Any) -> str:
    """Set one value, making tables on the way. Returns what is wrong with the path, or the empty string."""
    place: Any = data
    for depth, step in enumerate(path):
        last = depth == len(path) - 1
        fresh = value if last else [] if is_list(type_at(path[: depth + 1])) else {}
        if isinstance(place, MutableSequence) and isinstance(step, int):
            if step > len(place):
                return f"there are {len(place)} before it; the next number is {len(place)}"
            if step == len(place):
                place.append(fresh)
            elif last:
                place[step] = fresh
        elif isinstance(place, MutableMapping) and isinstance(step, str):
            if last:
                place[step] = fresh
            place.setdefault(step, fresh)
        else:
            return "no such key; levels are parted by two underscores, entries of a list numbered from 0"
        place = place[step]
    return ""


def sets_keys(environ: Mapping[str, str]) -> bool:
    """Returns whether the environment sets any key of the configuration."""
    return any(_is_key(name, environ[name]) for name in environ)


def _is_key(name: str, value: str) -> bool:
    return name.startswith(PREFIX) and name not in _NOT_KEYS and not _is_of_kubernetes(name, value)


def lay_over(
    data: MutableMapping[str, Any], environ: Mapping[str, str]
) -> tuple[dict[KeyPath, str], tuple[str, ...]]:
    """Lay the environment over the file's data, in place.

    Returns the variable's name for each path that was set, and one sentence for each variable that fits
    nowhere.
    """
    origins: dict[KeyPath, str] = {}
    sentences = []
    # Lists grow in the order of their numbers: 2 before 10.
    for path, name in sorted(
        ((_path(name), name) for name in environ if _is_key(name, environ[name])),
        key=lambda pair: [(isinstance(step, str), step) for step in pair[0]],
    ):
        wrong = _put(data, path, _parse_value(environ[name], type_at(path)))
        if wrong:
            sentences.append(f"{name}: {wrong}")
        else:
            origins[path] = name
    return origins, tuple(sentences)

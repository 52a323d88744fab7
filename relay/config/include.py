"""The parts of a configuration that lie in files of their own: what one may hold, and how they become one.

Owns `include`: the tables of such a file, their order behind those of the main file, and the names of files
in sentences about them (docs/configuration.md, "Files of their own"). Never reads a file:
`relay.config.included` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from pydantic import Field, ValidationError

from relay.config.connect import Instance, InstanceId
from relay.config.lists import ListSource, ListSources
from relay.config.model import Route
from relay.config.section import Section
from relay.config.sentences import build_sentences
from relay.config.words import bare_id
from relay.errors import ConfigError

_ROUTE = re.compile(r"routes\[(\d+)\]")
_LIST = re.compile(r"lists\.([a-z0-9_-]+)")
_INSTANCE = re.compile(r'connect\.instances\."([^"]+)"')


class _Instances(Section):
    instances: dict[InstanceId, Instance] = Field(default_factory=dict)


class _Tables(Section):
    """The tables that an included file may hold."""

    routes: tuple[Route, ...] = ()
    lists: ListSources = Field(default_factory=dict)
    connect: _Instances = _Instances()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """An included file, each of whose keys is right by itself."""

    path: str
    text: str
    data: Mapping[str, Any]
    sources: Mapping[str, ListSource]

    def _table(self, name: str) -> Mapping[str, Any]:
        return dict(self.data.get(name, {}))

    @property
    def routes(self) -> Sequence[Any]:
        """The routes of the file, in their order."""
        return list(self.data.get("routes", ()))

    @property
    def lists(self) -> Mapping[str, Any]:
        """The lists of the file, by name."""
        return self._table("lists")

    @property
    def instances(self) -> Mapping[str, Any]:
        """The instances of the file, by id or ARN."""
        return dict(self._table("connect").get("instances", {}))


class TornError(ConfigError):
    """Parts that do not go together, with the files that the sentences name."""

    def __init__(self, *sentences: str, files: Iterable[str]) -> None:
        super().__init__(*sentences)
        self.files = frozenset(files)


def split_pattern(pattern: str) -> tuple[str, str]:
    """The folder and the pattern of names in it."""
    path = PurePath(pattern)
    return str(path.parent), path.name


def check_part(path: str, text: str, data: Mapping[str, Any], *, main: str) -> Part:
    """The part that the values of a file make.

    Raises:
        ConfigError: one sentence for each mistake, which names the file.
    """
    connect = data.get("connect")
    strange = [key for key in data if key not in _Tables.model_fields]
    if isinstance(connect, dict):
        strange += [f"connect.{key}" for key in connect if key != "instances"]
    sentences = [
        f"{key}: has no place here; an included file holds [[routes]], [lists.NAME] and [connect.instances.ID] "
        f"alone; write it in {main}"
        for key in strange
    ]
    known: dict[str, Any] = {key: data[key] for key in data if key in _Tables.model_fields}
    if isinstance(connect, dict):
        known["connect"] = {key: connect[key] for key in connect if key == "instances"}
    tables = _Tables()
    try:
        tables = _Tables.model_validate(known)
    except ValidationError as exc:
        sentences += build_sentences(exc, {})
    if sentences:
        raise ConfigError(*(f"{path}: {sentence}" for sentence in sentences))
    return Part(path=path, text=text, data=data, sources=tables.lists)


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """The values of all files as one file would have them, and which of them are whose."""

    data: dict[str, Any]
    main: str
    #: The file of each route and its number there, in the order of all routes.
    routes: Sequence[tuple[str, int]]
    #: The file of each list and of each instance that is not of the main file.
    lists: Mapping[str, str]
    instances: Mapping[str, str]

    def name_files(self, sentences: Iterable[str]) -> TornError:
        """The error with the file in front of each sentence about an included one, and behind the route of
        another file that it names.
        """
        named: set[str] = set()
        told = [self._tell(sentence, named) for sentence in sentences]
        return TornError(*told, files=named)

    def _tell(self, sentence: str, named: set[str]) -> str:
        files = [file for file in self._files(sentence) if file != self.main]
        if not files:
            return sentence
        named.update(files)
        place = self._place(sentence)
        return f"{place}: {self._with_own_numbers(sentence, place)}"

    def _files(self, sentence: str) -> Iterator[str]:
        for found in _ROUTE.finditer(sentence):
            if int(found[1]) < len(self.routes):
                yield self.routes[int(found[1])][0]
        for found in _LIST.finditer(sentence):
            yield self.lists.get(found[1], self.main)
        for instance, file in self.instances.items():
            if instance in sentence:
                yield file

    def _place(self, sentence: str) -> str:
        """The file of the key that a sentence begins with."""
        if (found := _ROUTE.match(sentence)) and int(found[1]) < len(self.routes):
            return self.routes[int(found[1])][0]
        if found := _LIST.match(sentence):
            return self.lists.get(found[1], self.main)
        if found := _INSTANCE.match(sentence):
            return self.instances.get(found[1], self.main)
        return self.main

    def _with_own_numbers(self, sentence: str, place: str) -> str:
        def own(found: re.Match[str]) -> str:
            if int(found[1]) >= len(self.routes):
                return found[0]
            file, number = self.routes[int(found[1])]
            return f"routes[{number}]" if file == place else f"routes[{number}] of {file}"

        told = _ROUTE.sub(own, sentence)
        for instance, file in self.instances.items():
            if file != place and f" {instance} " in told:
                told = told.replace(f" {instance} ", f" {instance} of {file} ", 1)
        return told


def join(data: Mapping[str, Any], parts: Iterable[Part], *, main: str) -> Joined:
    """The main file's values and behind them those of each part, in the order of `parts`.

    Raises:
        TornError: two files have a list or an instance of one name, or the main file has no table there.
    """
    connect = data.get("connect", {})
    tables = (data.get("routes", []), data.get("lists", {}), connect, dict(connect).get("instances", {}))
    if not isinstance(tables[0], list) or not all(isinstance(each, dict) for each in tables[1:]):
        return Joined(
            data=dict(data), main=main, routes=(), lists={}, instances={}
        )  # it is told as it stands
    routes, lists, instances = list(tables[0]), dict(tables[1]), dict(tables[3])
    places = [(main, number) for number in range(len(routes))]
    of_list, of_instance = dict.fromkeys(lists, main), {_same(each): main for each in instances}
    owners: dict[str, str] = {}
    sentences: list[str] = []
    files: set[str] = set()
    for part in parts:
        routes += part.routes
        places += [(part.path, number) for number in range(len(part.routes))]
        doubled = [(f"lists.{name}", of_list[name]) for name in part.lists if name in of_list]
        doubled += [
            (f'connect.instances."{each}"', of_instance[_same(each)])
            for each in part.instances
            if _same(each) in of_instance
        ]
        for name, first in doubled:
            sentences.append(f"{part.path}: {name}: {first} has it already; remove one of them")
            files |= {part.path, first} - {main}
        lists |= part.lists
        instances |= part.instances
        of_list |= dict.fromkeys(part.lists, part.path)
        of_instance |= {_same(each): part.path for each in part.instances}
        owners |= dict.fromkeys(part.instances, part.path)
    if sentences:
        raise TornError(*sentences, files=files)
    joined = dict(data)
    if routes:
        joined["routes"] = routes
    if lists:
        joined["lists"] = lists
    if instances:
        joined["connect"] = {**connect, "instances": instances}
    return Joined(data=joined, main=main, routes=places, lists=of_list, instances=owners)


def _same(instance_id: str) -> str:
    """The part that the id and the ARN of one instance have in common."""
    return bare_id(instance_id).lower()

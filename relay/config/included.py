"""The included files of a configuration: found, read, and joined to the main file.

Owns the look at their folders, and `data_dir/included.json`: the last good version of each file. A file that
is broken is left at that version while the others go on by their new ones (docs/configuration.md, "Files of
their own"). A folder that cannot be read is an error and never counts as one without files: all routes in it
would be gone. Never decides what is right: the model does.
"""

from __future__ import annotations

import fnmatch
import json
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.config.data_dir import INCLUDED
from relay.config.include import Part, TornError, check_part, join, split_pattern
from relay.config.lists import ListSource
from relay.config.model import Config
from relay.config.sentences import show
from relay.config.words import check_include
from relay.errors import ConfigError

#: The most octets of one file, and the most files: far above any that a person writes.
_MOST_BYTES = 1 << 20
_MOST_FILES = 2_000
_MOST_REMEMBERED_BYTES = 64 << 20
_MODE = 0o600

Parse = Callable[[str, bytes], tuple[str, dict[str, Any]]]
Make = Callable[[dict[str, Any]], Config]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A configuration, and what of its included files is in force."""

    config: Config
    #: The text of each included file that is in force, by its path.
    texts: Mapping[str, str]
    #: One sentence for each mistake in a file whose last good version stays in force, or that is left out.
    kept: tuple[str, ...] = ()


def read_patterns(data: Mapping[str, Any]) -> tuple[str, ...]:
    """The patterns of `include`. Returns none where there are none, or where the model refuses them."""
    patterns = data.get("include")
    try:
        return tuple(check_include(each) for each in patterns) if isinstance(patterns, list) else ()
    except (AttributeError, TypeError, ValueError):
        return ()


def find_included(patterns: Sequence[str], folder: str) -> tuple[str, ...]:
    """The paths of the included files: those of each pattern sorted by their names, each file once.

    Raises:
        ConfigError: a folder cannot be read, or there are too many files.
    """
    found: dict[str, str] = {}
    for number, pattern in enumerate(patterns):
        place, names = split_pattern(os.path.join(folder, pattern))  # noqa: PTH118 - the text of the path stays
        for name in _names(number, pattern, place, names):
            path = os.path.join(place, name)  # noqa: PTH118 - as above
            found.setdefault(os.path.realpath(path), path)  # a link to one that was found is no second file
    if len(found) > _MOST_FILES:
        raise ConfigError(f"include: names {len(found)} files; {_MOST_FILES} at most are read")
    return tuple(found.values())


def _names(number: int, pattern: str, place: str, names: str) -> Sequence[str]:
    if not any(letter in names for letter in "*?["):
        return (names,)  # it is owed, so that its absence is told
    try:
        listed = [path.name for path in Path(place).iterdir()]
    except OSError as exc:
        raise ConfigError(
            f"include[{number}] = {show(pattern)}: {place} cannot be read ({exc.strerror}); give a folder that "
            "relay's user may read"
        ) from None
    # Names with a dot in front are an editor's, or of a Kubernetes volume.
    return sorted(name for name in listed if not name.startswith(".") and fnmatch.fnmatchcase(name, names))


def _read(path: str) -> bytes:
    """The octets of an included file.

    Raises:
        ConfigError: it cannot be read, is no file, or is too large.
    """
    try:
        # A pipe without a writer would keep us for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError(f"{path}: is no file; include files of TOML alone")
            octets = file.read(_MOST_BYTES + 1)
    except OSError as exc:
        raise ConfigError(
            f"{path}: cannot be read ({exc.strerror}); make it readable for the user relay runs as"
        ) from None
    if len(octets) > _MOST_BYTES:
        raise ConfigError(f"{path}: is over {_MOST_BYTES} octets; part it into several files")
    return octets


class Inclusion:
    """The files that one main file includes, and the choice of what is in force of each."""

    def __init__(
        self,
        data: Mapping[str, Any],
        *,
        main: str,
        parse: Parse,
        make: Make,
        check: Callable[[Mapping[str, ListSource]], Sequence[str]],
    ) -> None:
        """`data` are the main file's values with the environment over them. `make` gives the configuration
        of all values together, and `check` the sentences about the files of lists.
        """
        self._data = data
        self._main = main
        self._parse = parse
        self._make = make
        self._check = check
        self._wrong: dict[str, Sequence[str]] = {}

    def load(self, paths: Sequence[str], remembered: Mapping[str, str]) -> Loaded:
        """The configuration of all files. A broken one is left at its version of `remembered`, if anything
        is remembered at all.

        Raises:
            ConfigError: nothing is remembered and a file is broken, or the main file is wrong.
        """
        fresh = {path: part for path in paths if (part := self._fresh(path)) is not None}
        if not self._wrong:
            try:
                return self._join([fresh[path] for path in paths])
            except TornError as exc:
                whole: tuple[str, ...] = exc.sentences
        else:
            whole = ()
        if not remembered:
            raise ConfigError(*self._sentences(), *whole)
        old = {path: part for path in paths if (part := self._old(path, remembered)) is not None}
        return self._choose(paths, fresh, old)

    def _choose(self, paths: Sequence[str], fresh: Mapping[str, Part], old: Mapping[str, Part]) -> Loaded:
        """Take the new version of each file that goes with the others, and the old one of each other."""
        aside: set[str] = set()

        def parts(*more: str) -> list[Part]:
            new = {path: part for path, part in fresh.items() if path not in aside or path in more}
            chosen = {**old, **new}
            return [chosen[path] for path in paths if path in chosen]

        while True:
            try:
                loaded = self._join(parts())
            except TornError as exc:
                suspects = {path for path in exc.files if path in fresh and self._is_new(path, fresh, old)}
                if suspects <= aside:
                    raise ConfigError(*self._sentences(), *exc.sentences) from None
                aside |= suspects
            else:
                break
        # Each that goes in may make room for another.
        while taken := [path for path in sorted(aside) if self._goes_in(path, parts, aside)]:
            loaded = self._join(parts(*taken))
        return Loaded(config=loaded.config, texts=loaded.texts, kept=self._sentences(old))

    def _goes_in(self, path: str, parts: Callable[[str], list[Part]], aside: set[str]) -> bool:
        """Take a new version that was put aside, if it goes with the others. Returns whether it does."""
        try:
            self._join(parts(path))
        except TornError as exc:
            self._wrong[path] = exc.sentences
            return False
        self._wrong.pop(path, None)
        aside.discard(path)
        return True

    @staticmethod
    def _is_new(path: str, fresh: Mapping[str, Part], old: Mapping[str, Part]) -> bool:
        return path not in old or old[path].text != fresh[path].text

    def _fresh(self, path: str) -> Part | None:
        try:
            return self._part(path, _read(path))
        except ConfigError as exc:
            self._wrong[path] = exc.sentences
            return None

    def _part(self, path: str, octets: bytes) -> Part:
        text, data = self._parse(path, octets)
        part = check_part(path, text, data, main=self._main)
        if sentences := self._check(part.sources):
            raise ConfigError(*(f"{path}: {sentence}" for sentence in sentences))
        return part

    def _old(self, path: str, remembered: Mapping[str, str]) -> Part | None:
        """The last good version of a file. Returns None where none is known, or it is none any more."""
        try:
            text, data = self._parse(path, remembered[path].encode())
            return check_part(path, text, data, main=self._main)
        except (KeyError, ConfigError):
            return None

    def _join(self, parts: Sequence[Part]) -> Loaded:
        joined = join(self._data, parts, main=self._main)
        try:
            config = self._make(joined.data)
        except ConfigError as exc:
            raise joined.name_files(exc.sentences) from None
        return Loaded(config=config, texts={part.path: part.text for part in parts})

    def _sentences(self, old: Mapping[str, Part] | None = None) -> tuple[str, ...]:
        """The mistakes of all files; with `old` each says what is in force instead."""
        if old is None:
            return tuple(sentence for some in self._wrong.values() for sentence in some)
        return tuple(
            f"{sentence} ({'its last good version stays in force' if path in old else 'it is left out'})"
            for path, some in sorted(self._wrong.items())
            for sentence in some
        )


def load_remembered(data_dir: Path) -> Mapping[str, str]:
    """The last good version of each included file, by its path. Returns none where none can be read."""
    try:
        with (data_dir / INCLUDED).open("rb") as file:
            found = json.loads(file.read(_MOST_REMEMBERED_BYTES))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {path: text for path, text in found.items() if isinstance(text, str)}


def remember(data_dir: Path, texts: Mapping[str, str]) -> bool:
    """Keep these versions as the last good ones. Returns whether they could be written."""
    if not texts and not (data_dir / INCLUDED).exists():
        return True
    fresh = (data_dir / INCLUDED).with_suffix(".new")
    try:
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=_MODE)
        fresh.write_text(json.dumps(texts), encoding="utf-8")
        fresh.replace(data_dir / INCLUDED)
    except OSError:
        return False
    return True

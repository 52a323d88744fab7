"""The systemd unit of the relay, read from its files: user, environment and folders of the service.

Owns how a unit and its drop-ins are found and read (systemd.unit(5), systemd.exec(5)); systemd itself is not
asked, so a unit that is not loaded yet is read, too. Never changes anything.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

NAME = "relay.service"
#: The folders of units in the order of systemd.unit(5), the first wins.
_FOLDERS = (
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
#: Octets of a file that are read: systemd takes lines of a megabyte.
_MOST_BYTES = 1 << 20
#: Keys that may stand several times; an empty one forgets those before it.
_LISTS = frozenset(
    {
        "AmbientCapabilities",
        "Environment",
        "EnvironmentFile",
        "ExecStart",
        "LoadCredential",
        "ReadWritePaths",
        "StateDirectory",
        "SupplementaryGroups",
    }
)
_HOMES = ("/home", "/root", "/run/user")
_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - compared, not written


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A service as its unit has it: `once` the last value of each key, `lists` those of keys that add up."""

    name: str
    path: Path
    once: Mapping[str, str]
    lists: Mapping[str, tuple[str, ...]]

    @property
    def user(self) -> str:
        """The user's name or number; root where none is named."""
        return self.once.get("User") or "root"

    @property
    def group(self) -> str:
        """The group's name or number; "" stands for the user's own."""
        return self.once.get("Group", "")

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups beside it."""
        return tuple(" ".join(self._list("SupplementaryGroups")).split())

    @property
    def command(self) -> tuple[str, ...]:
        """The words of ExecStart=, without the marks in front of the program."""
        words = split_words(self._list("ExecStart")[0]) if self._list("ExecStart") else []
        return (words[0].lstrip("@-:+!|"), *words[1:]) if words else ()

    @property
    def may_bind(self) -> bool:
        """Returns whether the service may bind ports below 1024."""
        return any(
            "CAP_NET_BIND_SERVICE" in each.upper().split() for each in self._list("AmbientCapabilities")
        )

    @property
    def state_directories(self) -> tuple[Path, ...]:
        """The folders that systemd makes for the service at its start."""
        names = " ".join(self._list("StateDirectory")).split()
        return tuple(Path("/var/lib") / name.partition(":")[0] for name in names)

    @property
    def credentials(self) -> tuple[tuple[str, Path], ...]:
        """The credentials that systemd reads as root for the service: the name of each, and its file."""
        pairs = (each.partition(":") for each in self._list("LoadCredential"))
        return tuple((name, Path(path)) for name, _, path in pairs if path.startswith("/"))

    @property
    def environment_files(self) -> tuple[tuple[Path, bool], ...]:
        """The environment files, each with whether it may be missing."""
        return tuple(
            (Path(each.removeprefix("-")), each[:1] == "-") for each in self._list("EnvironmentFile")
        )

    @property
    def environment(self) -> dict[str, str]:
        """The variables of Environment=; specifiers other than %%, %b, %n and %d stay as they are."""
        words = [word for each in self._list("Environment") for word in split_words(each)]
        pairs = (word.partition("=") for word in words if "=" in word)
        return {name: self._fill(value) for name, _, value in pairs}

    @property
    def credentials_directory(self) -> Path:
        """The folder in which the service finds its credentials."""
        return Path("/run/credentials") / self.name

    def hides(self, path: Path) -> str:
        """The setting that hides a path from the service, or "" where it may be seen."""
        if self.once.get("ProtectHome", "no").lower() in _YES | {"tmpfs"} and _is_below(path, _HOMES):
            return "ProtectHome="
        if self.once.get("PrivateTmp", "no").lower() in _YES and _is_below(path, _TEMPORARY):
            return "PrivateTmp="
        return ""

    def protects(self, path: Path) -> bool:
        """Returns whether the service may not write at a path, whatever its mode says."""
        if self.once.get("ProtectSystem", "no").lower() != "strict":
            return False
        open_to = (each.lstrip("-+") for each in " ".join(self._list("ReadWritePaths")).split())
        return not _is_below(path, (*map(str, self.state_directories), *open_to))

    def _list(self, key: str) -> tuple[str, ...]:
        return self.lists.get(key, ())

    def _fill(self, value: str) -> str:
        def fill(found: re.Match[str]) -> str:
            return {
                "%%": "%", "%b": _boot_id(), "%n": self.name, "%d": str(self.credentials_directory)
            }.get(found[0], found[0])  # fmt: skip

        return re.sub(r"%.", fill, value)


_YES = frozenset({"yes", "true", "on", "1"})


def _is_below(path: Path, places: tuple[str, ...]) -> bool:
    return any(path.is_relative_to(place) for place in places)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    except OSError:
        return ""


def list_folders(environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """The folders of units: those of $SYSTEMD_UNIT_PATH, as systemd reads it, else the usual ones."""
    named = environ.get("SYSTEMD_UNIT_PATH")
    if not named:
        return tuple(map(Path, _FOLDERS))
    folders = tuple(Path(each) for each in named.split(":") if each)
    return (*folders, *map(Path, _FOLDERS)) if named.endswith(":") else folders


def find_unit(name: str = NAME, *, environ: Mapping[str, str] = os.environ) -> Unit | None:
    """The unit with its drop-ins. Returns None where there is none, or one that is masked."""
    folders = list_folders(environ)
    path = next((folder / name for folder in folders if (folder / name).exists()), None)
    if path is None or path.resolve() == Path(os.devnull):
        return None
    once: dict[str, str] = {}
    lists: dict[str, tuple[str, ...]] = {}
    for file in (path, *_drop_ins(name, folders)):
        for key, value in read_section(read_unit_file(file)):
            if key not in _LISTS:
                once[key] = value
            else:
                lists[key] = (*lists.get(key, ()), value) if value else ()
    return Unit(name=name, path=path, once=once, lists=lists)


def _drop_ins(name: str, folders: tuple[Path, ...]) -> list[Path]:
    """The drop-ins in the order of their names; of one name, that of the first folder."""
    found: dict[str, Path] = {}
    for folder in folders:
        for file in (folder / f"{name}.d").glob("*.conf"):
            found.setdefault(file.name, file)
    return [found[each] for each in sorted(found)]


def read_unit_file(path: Path) -> str:
    """The text of a unit's file, as far as one should reach. Returns "" if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def read_section(text: str, wanted: str = "[Service]") -> Iterator[tuple[str, str]]:
    """The keys and values of one section (systemd.syntax(7)): a backslash at the end of a line joins it to
    the next, and lines of comment in between are passed over.
    """
    section, joined = "", ""
    for line in text.splitlines():
        if line.lstrip()[:1] in ("#", ";"):
            continue
        if line.endswith("\\"):
            joined += line[:-1] + " "
            continue
        whole, joined = (joined + line).strip(), ""
        if whole.startswith("[") and whole.endswith("]"):
            section = whole
        elif section == wanted and "=" in whole:
            key, _, value = whole.partition("=")
            yield key.strip(), value.strip()


_WORD = re.compile(r"""(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')+""", re.DOTALL)
_QUOTED = re.compile(r"""\\(.)|"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'""", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def split_words(value: str) -> list[str]:
    """The words of a value: quotes hold blanks together, a backslash makes the next character plain."""
    return [_QUOTED.sub(_open, word) for word in _WORD.findall(value)]


def _open(found: re.Match[str]) -> str:
    if found[1] is not None:
        return found[1]
    return _ESCAPED.sub(r"\1", found[2] if found[2] is not None else found[3])


def read_environment(text: str) -> dict[str, str]:
    """The variables of an environment file (systemd.exec(5), EnvironmentFile=): a name, "=", and a value that
    may stand in quotes. Lines that are none are passed over, as systemd passes over them.
    """
    found: dict[str, str] = {}
    for line in re.sub(r"\\\r?\n", "", text).splitlines():
        name, equals, value = line.strip().partition("=")
        name, value = name.strip(), value.strip()
        if equals and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            quoted = value[:1] in ("'", '"') and len(value) > 1 and value[-1] == value[0]
            found[name] = (
                value[1:-1]
                if quoted and value[0] == "'"
                else _ESCAPED.sub(r"\1", value[1:-1] if quoted else value)
            )
    return found

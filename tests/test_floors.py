"""The floors and fences of CONTRIBUTING.md, held by reading the imports of every module.

Three tables below say where a room stands, who may look sideways, and who may touch which library. A new
room, or a new library, needs its line here: that line is the decision, and reviewers see it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "relay"

#: The floor of each room; the longest name that fits decides, so a module may stand elsewhere than its
#: package.
FLOORS = {
    # 0, words: frozen values, standard library only.
    "relay": 0,
    "relay.errors": 0,
    "relay.envelope": 0,
    "relay.vocabulary": 0,
    "relay.terminal": 0,
    "relay.check.finding": 0,
    "relay.contact.attribute_names": 0,
    "relay.contact.limits": 0,
    "relay.contact.risk.codes": 0,  # names rules of the configuration, too
    "relay.contact.sentences": 0,
    "relay.delivery.clock": 0,
    # 1, rules: values in, values out.
    "relay.domains": 1,
    "relay.networks": 1,
    "relay.config": 1,
    "relay.routes": 1,
    "relay.replies": 1,
    "relay.message": 1,
    "relay.contact": 1,
    "relay.policy": 1,
    "relay.auth": 1,
    "relay.lists.entries": 1,
    "relay.spool.model": 1,
    "relay.spool.records": 1,
    "relay.spool.groups": 1,
    "relay.spool.ids": 1,
    "relay.spool.patterns": 1,
    "relay.spool.action": 1,
    "relay.spool.archive": 1,
    "relay.spool.audit": 1,
    "relay.spool.change": 1,
    "relay.spool.interface": 2,  # its futures are of asyncio
    "relay.spool.clock": 1,
    "relay.spool.nodes": 1,
    "relay.spool.page": 1,
    "relay.spool.raw_file": 1,
    "relay.spool.duplicates": 1,
    "relay.spool.erasure": 1,
    "relay.spool.pseudonyms": 1,
    "relay.spool.doubt": 1,
    "relay.delivery.outage": 1,
    "relay.delivery.proven": 1,
    "relay.delivery.retry": 1,
    "relay.alarms.model": 1,
    "relay.alarms.presets": 1,
    "relay.alarms.quarantine": 1,
    "relay.spool.feed": 1,
    "relay.events.document": 1,
    "relay.spool.fleet.tables": 1,
    "relay.spool.fleet.items": 1,
    "relay.spool.fleet.records": 1,
    "relay.spool.fleet.encoding": 1,
    "relay.aws.proof": 1,
    "relay.tail.event": 1,
    "relay.tail.wanted": 1,
    "relay.aws.values": 1,
    "relay.scan.model": 1,
    # 2, edges: one outside thing each.
    "relay.config.load": 2,
    "relay.config.included": 2,
    "relay.config.remembered": 2,
    "relay.config.handlers": 2,  # imports an operator's code, which may do anything
    "relay.faults": 2,
    "relay.timing": 2,
    "relay.rewriting": 2,
    "relay.absence": 2,
    "relay.resolver": 2,
    "relay.scan": 2,
    "relay.auth.lookup": 2,
    "relay.lists": 2,
    "relay.logins": 2,
    "relay.telemetry": 2,
    "relay.spool": 2,
    "relay.aws": 2,
    "relay.tail": 2,
    "relay.alarms": 2,
    # 3, stages.
    "relay.auth.check": 3,
    "relay.auth.origin": 3,
    "relay.understand": 3,
    "relay.smtp": 3,
    "relay.delivery": 3,
    "relay.events": 3,
    "relay.alarms.watch": 3,
    # 4, program.
    "relay.daemon": 4,
    "relay.check": 4,
    "relay.explain": 4,
    "relay.setup": 4,
    "relay.web": 4,
    "relay.web.view": 1,
    "relay.cli": 4,
    "relay.sandbox": 4,
    "relay.__main__": 4,
}

#: On one floor a room looks only into itself, and where this table says.
SIDEWAYS = {
    "config": {"domains", "networks"},
    "routes": {"config", "domains"},
    "contact": {"auth", "config", "domains", "message", "networks", "scan"},
    "auth": {"config", "domains", "message", "networks"},
    "policy": {"config", "contact", "domains", "message", "replies", "scan"},
    "spool": {"aws", "config", "domains", "faults", "networks", "telemetry", "timing"},
    "alarms": {"aws", "config", "spool", "telemetry", "timing"},
    "aws": {"config", "contact", "telemetry", "timing"},
    "events": {"alarms", "config", "spool"},
    "delivery": {"config", "domains", "understand"},
    "logins": {"rewriting"},
    "lists": {"aws", "domains", "rewriting", "telemetry"},
    "absence": {"telemetry"},
    "tail": {"domains", "networks", "timing"},
    "resolver": {"absence"},
    "scan": {"auth"},
    "smtp": {"auth", "understand"},
    "cli": {"daemon", "check", "explain", "sandbox", "setup"},
    "explain": {"check"},
    "sandbox": {"daemon", "cli", "web"},
    "daemon": {"web"},
    "web": {"explain", "spool"},
    "__main__": {"cli"},
}

#: Which rooms may touch which library; where a name is missing, nobody may.
FENCES = {
    "aioboto3": {"aws", "sandbox"},
    "aiobotocore": {"aws", "sandbox"},
    "boto3": {"aws", "sandbox"},
    "botocore": {"aws", "check", "sandbox"},
    "aiohttp": {"alarms", "aws", "daemon", "sandbox", "scan", "web"},
    "aiosmtpd": {"smtp"},
    "OpenSSL": {"smtp"},
    "apsw": {"spool"},
    "argon2": {"logins"},
    "charset_normalizer": {"message"},
    "click": {"cli"},
    "cryptography": {"smtp"},
    "dkim": {"auth", "sandbox"},
    "dns": {"resolver", "sandbox"},
    "flask": {"sandbox"},
    "idna": {"domains"},
    "jinja2": {"web"},
    "markupsafe": {"web"},  # the type of what Jinja2 has escaped
    "moto": {"sandbox"},
    "multidict": {"web"},  # the fields of an address and a form, as aiohttp has them
    "opentelemetry": {"telemetry"},
    "orjson": {"spool", "tail", "telemetry", "understand"},
    "prometheus_client": {"daemon", "telemetry"},
    "pybase64": {"contact", "message"},
    "pydantic": {"config"},
    "pydantic_core": {"config"},
    "regex": {"aws", "config", "contact", "message", "sandbox"},
    "structlog": {"telemetry"},
    "uvloop": {"daemon"},
    "werkzeug": {"sandbox"},
    "yarl": {"sandbox"},  # a presigned URL must leave aiohttp as it is; only its URL says so
}

#: What floors 0 and 1 leave to the edges: sockets, files, clocks, chance, processes, logs.
IMPURE = {
    "asyncio", "concurrent", "ctypes", "fcntl", "glob", "http", "logging", "multiprocessing", "os",
    "random", "resource", "secrets", "select", "selectors", "shutil", "signal", "smtplib", "socket",
    "socketserver", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "urllib.request", "uuid",
}  # fmt: skip
#: Calls that do I/O or read the clock without an import of their own.
IMPURE_CALLS = {"open", "input", "print", "now", "utcnow", "today", "read_text", "read_bytes", "write_bytes"}
#: Rooms that are somebody's own: whose, and the door that all others take.
CLOSED = {
    "relay.spool.local": ("relay.spool", "relay.spool.opening, behind relay.spool.interface"),
    "relay.spool.fleet": ("relay.spool", "relay.spool.opening, behind relay.spool.interface"),
}
LONGEST = 400  # lines of a module: CONTRIBUTING.md, "Code"


def module_name(path: Path) -> str:
    """The dotted name of a file under relay/."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    """The second step of a name: relay.contact.fit is in the room "contact"."""
    return module.split(".")[1] if "." in module else module


def floor(module: str) -> int | None:
    """The floor of a module; None where the table has no line for its room."""
    name = module
    while "." in name:
        if name in FLOORS:
            return FLOORS[name]
        name = name.rpartition(".")[0]
    return FLOORS["relay"] if module == "relay" else None


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that the code names in an import, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                yield "." * node.level + base
            else:  # `from relay.x import y` names a module of the package x, or something in it
                yield from {
                    full if is_module(full := f"{base}.{alias.name}") else base for alias in node.names
                }


def is_module(name: str) -> bool:
    """Returns whether a file or folder below relay/ has this dotted name."""
    if not name.startswith("relay."):
        return False
    path = ROOT.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def calls(tree: ast.AST) -> Iterator[str]:
    """The last name of everything that the code calls."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id
            elif isinstance(node.func, ast.Attribute):
                yield node.func.attr


def violations(module: str, source: str) -> list[str]:
    """What is wrong with where a module stands and what it touches, one sentence each."""
    mine = floor(module)
    if mine is None:
        return [f"{module} has no floor: give its room a line in FLOORS of tests/test_floors.py"]
    tree = ast.parse(source)
    found = []
    for name in imports(tree):
        if name.startswith("."):
            found.append(f"{module} imports {name}: write the full name")
        elif name.split(".")[0] == "relay":
            found += _upwards(module, mine, name)
        elif name.split(".")[0] not in sys.stdlib_module_names:
            found += _fenced(module, name.split(".")[0])
        elif mine <= 1 and (name in IMPURE or name.split(".")[0] in IMPURE):
            found.append(f"{module} (floor {mine}) imports {name}: rules take such things as arguments")
    if not _is_within(module, "relay.spool") and any(
        isinstance(node, ast.Attribute) and node.attr == "entry_id" for node in ast.walk(tree)
    ):
        found.append(
            f"{module} reads .entry_id, a number of the backend's: the id of an entry is its .reference"
        )
    if mine <= 1:
        found += [
            f"{module} (floor {mine}) calls {name}(): rules take what they need as arguments"
            for name in calls(tree)
            if name in IMPURE_CALLS
        ]
    if (lines := source.count("\n")) > LONGEST:
        found.append(f"{module} has {lines} lines: part it by its nouns, {LONGEST} is the most")
    return found


def _upwards(module: str, mine: int, name: str) -> Iterator[str]:
    theirs = floor(name)
    if theirs is None:
        yield f"{module} imports {name}, which has no floor: give its room a line in FLOORS"
    elif theirs > mine:
        yield f"{module} (floor {mine}) imports {name} (floor {theirs}): imports go down only"
    elif theirs == mine and room(name) not in {room(module), "relay"} | SIDEWAYS.get(room(module), set()):
        yield f"{module} imports {name} on its own floor: move what both need down, or give SIDEWAYS a reason"
    for closed, (owner, door) in CLOSED.items():
        if _is_within(name, closed) and not _is_within(module, owner):
            yield f"{module} imports {name}, which is {owner}'s own: come in by {door}"
    if room(name) == "sandbox" and room(module) != "sandbox" and module != "relay.cli.sandbox":
        yield f"{module} imports {name}: production never imports the sandbox"


def _is_within(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")


def _fenced(module: str, library: str) -> Iterator[str]:
    if library not in FENCES:
        yield f"{module} imports {library}: a new library needs its fence in FENCES of tests/test_floors.py"
    elif room(module) not in FENCES[library]:
        allowed = ", ".join(sorted(FENCES[library]))
        yield f"{module} imports {library}: only {allowed} may"


MODULES = sorted(ROOT.rglob("*.py"))
NAMES = {module_name(each) for each in MODULES}


@cache
def tree_of(path):
    """The syntax tree of a file, which several tests walk."""
    return ast.parse(path.read_text())


@pytest.mark.parametrize("path", MODULES, ids=module_name)
@pytest.mark.slow
def test_module_stands_on_its_floor(path):
    """A module imports only downwards, stays behind the fences, and is no longer than it may be."""
    assert violations(module_name(path), path.read_text()) == []


def circles(arrows):
    """The modules from which a circle of arrows is reached."""
    left = {module: set(theirs) for module, theirs in arrows.items()}
    while free := [module for module, theirs in left.items() if not theirs & left.keys()]:
        for module in free:
            del left[module]
    return sorted(left)


def imported_modules(path):
    """The modules of ours that a module imports, under TYPE_CHECKING and inside functions, too."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in NAMES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "") in NAMES:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in NAMES else node.module


@pytest.mark.slow
def test_no_circle():
    """No module leads back to itself by its imports, wherever they stand."""
    assert circles({module_name(path): set(imported_modules(path)) for path in MODULES}) == []


def test_a_circle_is_found():
    """Modules that import each other are named, and those that lead there; others are not."""
    assert circles({"a": {"b"}, "b": {"a"}, "c": {"a"}, "d": {"e"}, "e": set()}) == ["a", "b", "c"]


@pytest.mark.slow
def test_tests_know_the_local_spool_in_one_place():
    """Outside tests/spool only spool_helpers imports relay.spool.local; bench.edge_cpu measures its parts."""
    tests = ROOT.parent / "tests"
    others = [*tests.rglob("*.py"), *(ROOT.parent / "bench").glob("*.py")]
    users = {
        path.relative_to(ROOT.parent).as_posix()
        for path in others
        if not path.is_relative_to(tests / "spool")
        and "spool" in (text := path.read_text())
        and any(_is_within(name, "relay.spool.local") for name in imports(ast.parse(text)))
    }
    assert users == {"bench/edge_cpu.py", "tests/spool_helpers.py"}


def test_every_module_is_read():
    """The test looks at the whole package, not at an empty directory."""
    assert "relay.config.model" in {module_name(path) for path in MODULES}


@pytest.mark.parametrize(
    ("module", "source", "sentence"),
    [
        ("relay.surprise", "", "has no floor"),
        ("relay.routes", "import relay.smtp.session", "imports go down only"),
        ("relay.routes", "from relay import daemon", "imports go down only"),
        ("relay.message.parse", "from relay.contact.fit import fit", "on its own floor"),
        ("relay.message.parse", "def f():\n    import socket", "as arguments"),
        ("relay.message.parse", "import urllib.request", "as arguments"),
        ("relay.message.parse", "at = datetime.now(UTC)", "calls now()"),
        ("relay.message.parse", "from . import charset", "write the full name"),
        ("relay.delivery", "import boto3", "only aws, sandbox may"),
        ("relay.smtp.session", "import structlog", "only telemetry may"),
        ("relay.contact.fit", "import numpy", "needs its fence"),
        ("relay.daemon", "from relay.sandbox.s3 import start", "never imports the sandbox"),
        ("relay.daemon.child", "from relay.spool.local.layout import Layout", "come in by"),
        ("relay.cli", "from relay.spool import local", "come in by"),
        (
            "relay.alarms.watch",
            "if TYPE_CHECKING:\n    from relay.spool.local.desk import LocalDesk",
            "come in by",
        ),
        ("relay.delivery.services", "key = entry.entry_id", "its .reference"),
        ("relay.spool.local", "x = 1\n" * 401, "has 401 lines"),
    ],
)
def test_a_breach_is_found(module, source, sentence):
    """Each rule can be broken, and the sentence says which it was."""
    assert [each for each in violations(module, source) if sentence in each]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("relay.routes", "from relay.config.model import Config\nfrom relay.envelope import Destination"),
        ("relay.message.parse", "from relay import __version__\nfrom urllib.parse import quote"),
        ("relay.cli.sandbox", "from relay.sandbox import run"),
        ("relay.aws.connect", "import botocore.exceptions\nfrom relay.errors import RemoteError"),
    ],
)
def test_what_is_allowed_is_silent(module, source):
    """A module that keeps the rules is not spoken of."""
    assert violations(module, source) == []


@pytest.mark.process
def test_production_starts_without_the_libraries_of_others():
    """`relay --help` and the loading of a configuration import neither AWS nor SMTP libraries."""
    import subprocess

    code = (
        "import sys, relay.cli, relay.cli.serve, click.testing as t;"
        "assert t.CliRunner().invoke(relay.cli.main, ['--help']).exit_code == 0;"
        "print(*sorted({'boto3', 'botocore', 'aioboto3', 'aiosmtpd', 'moto'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT.parent, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == ""

"""The documents held to the code: keys, defaults, commands, events, metrics, examples, links, and tests' own
words.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import runpy
import tokenize
import tomllib
from functools import cache
from pathlib import Path

import click
import pytest
from prometheus_client import Counter, Gauge, Histogram
from test_floors import FLOORS

from relay.cli import COMMANDS, main
from relay.cli.explanations import build_record
from relay.config.builtin import builtin_config
from relay.config.keys import all_keys
from relay.explain import Explanation
from relay.telemetry import daemon, deliveries, fleet, hooks, identity, sessions, spool, web, workers
from relay.telemetry import events as event_facts
from relay.telemetry import metrics as metrics_module
from relay.vocabulary import AlarmKind, Disposition

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    ROOT / "bench" / "README.md",
    ROOT / "tests" / "dialogs" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
README = (ROOT / "README.md").read_text()
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


def name_of(path):
    """A file as seen from the root."""
    return str(path.relative_to(ROOT))


# --- The configuration


def written_default(key):
    """A default as the table of docs/configuration.md writes it."""
    if key.required:
        return "**required**"
    if key.default is None:
        return "none"
    if key.name == "hostname":
        return "the machine's"
    if key.name == "connect.allowed_extensions":
        return "AWS's list"
    return f"`{json.dumps(key.default, default=str)}`"


@pytest.mark.parametrize("key", list(all_keys()), ids=lambda key: key.name)
def test_key_is_documented_with_its_default(key):
    """Each key of the configuration has its line, with the default that the code has."""
    rows = re.findall(rf"^\| `{re.escape(key.name)}` \| (.+?) \| (.+) \|$", CONFIGURATION, re.MULTILINE)
    assert len(rows) == 1, f"{key.name} needs one line in docs/configuration.md"
    assert rows[0][0] == written_default(key)


def test_no_key_is_documented_that_is_none():
    """A key that the code no longer knows is no longer in the table."""
    known = {key.name for key in all_keys()}
    assert (
        set(re.findall(r"^\| `([a-z0-9_.\[\]]+)` \| (?:`|\*|none|the|AWS)", CONFIGURATION, re.MULTILINE))
        <= known
    )


EXAMPLES = [
    (path, block)
    for path in DOCUMENTS
    for block in re.findall(r"```toml\n(.*?)```", path.read_text() if path.exists() else "", re.DOTALL)
]


@pytest.mark.parametrize(
    ("path", "block"), EXAMPLES, ids=lambda value: value.stem if isinstance(value, Path) else ""
)
def test_example_is_a_configuration(path, block):
    """Each example in TOML is one that the relay takes, when what it leaves out is given."""
    builtin_config(**tomllib.loads(block))


# --- The commands


def commands():
    """Every command and sub-command by its words, those that are there."""
    for name in COMMANDS:
        module = COMMANDS[name].place.partition(":")[0]
        if importlib.util.find_spec(module) is None:  # pragma: no cover
            continue
        command = main.get_command(click.Context(main), name)
        yield name, command
        if isinstance(command, click.Group):
            for each, sub in command.commands.items():
                yield f"{name} {each}", sub


@pytest.mark.parametrize(
    ("words", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_command_is_documented_and_has_help(words, command):
    """Each command says what it does, each option too, and the documents show it."""
    assert command.help or command.short_help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help or parameter.hidden or parameter.name == "limit", parameter.name
    assert f"relay {words}" in README + OPERATIONS


def test_table_of_commands_leads_to_commands():
    """Each line of the table of commands names a module and a command that are there."""
    for name, (place, _) in COMMANDS.items():
        module, _, attribute = place.partition(":")
        assert isinstance(getattr(importlib.import_module(module), attribute), click.Command), name


# --- The log and the metrics


def events():
    """Every event that the log knows."""
    source = "".join(
        map(
            inspect.getsource,
            (sessions, fleet, hooks, identity, spool, deliveries, workers, web, daemon, event_facts),
        )
    )
    found = set(re.findall(r'"([a-z]+\.[a-z_]+)"', source)) - {"mail.log"}
    return sorted(found | {sessions._ENDED[each] for each in Disposition})


@pytest.mark.parametrize("event", events())
def test_event_is_documented(event):
    """Each event of the log has its line for the operator."""
    assert re.search(rf"^\| .*`{re.escape(event)}`.* \|$", OPERATIONS, re.MULTILINE)


def test_no_event_is_documented_that_is_none():
    """An event that the code no longer writes is no longer in the table."""
    table = OPERATIONS.partition("| Event |")[2].partition("## ")[0]
    named = {
        name for row in table.splitlines() for name in re.findall(r"`([a-z]+\.[a-z_]+)`", row.split(" | ")[0])
    }
    assert named <= set(events())


@pytest.mark.parametrize("kind", list(AlarmKind))
def test_alarm_is_documented(kind):
    """Each kind of alarm has its line for whoever is woken by it."""
    assert re.search(rf"^\| `{kind}` \| .* \|$", OPERATIONS, re.MULTILINE)


def metrics():
    """Every metric of ours by its name in the exposition."""
    for each in vars(metrics_module).values():
        if isinstance(each, Counter | Gauge | Histogram):
            (family,) = each.describe()
            yield f"{family.name}_total" if family.type == "counter" else family.name


@pytest.mark.parametrize("metric", sorted(metrics()))
def test_metric_is_documented(metric):
    """Each metric has its line for the operator."""
    assert re.search(rf"^\| `{metric}` \|", OPERATIONS, re.MULTILINE)


def test_no_metric_is_documented_that_is_none():
    """A metric that the code no longer moves is no longer in the documents."""
    named = set(
        re.findall(
            r"`(relay_[a-z_]+_total|relay_[a-z]+_seconds|relay_[a-z]+_info|relay_sessions|relay_gate_closed)",
            OPERATIONS,
        )
    )
    assert named <= set(metrics())


def test_keys_of_explain_are_documented():
    """Each key that `relay explain --json` prints has its line."""
    section = OPERATIONS.partition("## What would a mail become?")[2].partition("## ")[0]
    keys = {
        key
        for row in re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
        for key in re.findall(r"`(\w+)`", row)
    }
    assert keys == set(build_record(Explanation(file="mail.eml")))


# --- The documents themselves


GENERATED = runpy.run_path(str(ROOT / "docs" / "generate.py"))["PAGES"]


@pytest.mark.parametrize("name", GENERATED)
def test_generated_page_is_what_the_code_says(name):
    """Each page that is made of the code is today's; where it is stale, `make docs` writes it anew."""
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == GENERATED[name](), "stale: make docs"


def test_make_docs_makes_every_generated_page():
    """A page that says `make docs` makes it is among those that it makes, and no other is."""
    made = {path.name for path in (ROOT / "docs").glob("*.md") if "by `make docs`" in path.read_text()}
    assert made == set(GENERATED)


def anchors(path):
    """The names that a link into this page may end in."""
    heads = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(path):
    """Each link to another page of ours finds it, and its heading; each picture is there."""
    text = path.read_text()
    for target in re.findall(r"\]\(([^)]+)\)", text) + re.findall(r' src(?:set)?="([^"]+)"', text):
        if re.match(r"\w+:", target):
            continue
        file, _, anchor = target.partition("#")
        aim = (path.parent / file).resolve() if file else path
        assert aim.exists(), target
        assert not anchor or anchor in anchors(aim), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_make_targets_in_documents_exist(path):
    """Each `make target` that a page names is one."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^    |`)make ([a-z]+)", path.read_text(), re.MULTILINE))
    assert named <= targets


def test_every_long_test_has_a_campaign():
    """Each module with a `long` test lies under a path that a target of the Makefile runs with its long
    tests.
    """
    makefile = (ROOT / "Makefile").read_text()
    runs = [line for line in makefile.splitlines() if "-m pytest" in line and re.search(r"-m \"?long", line)]
    paths = [ROOT / word for line in runs for word in re.findall(r"tests/\S+", line)]
    long = [path for path in (ROOT / "tests").rglob("test_*.py") if "mark." + "long" in path.read_text()]
    assert len(long) > 10
    assert [path for path in long if not any(path.is_relative_to(each) for each in paths)] == []


def test_floors_of_contributing_are_those_of_the_code():
    """The table of floors in CONTRIBUTING.md names each room on the floor where test_floors.py has it."""
    rows = re.findall(r"^\| (\d) \w+ \| (.+?) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    named = {f"relay.{name}": int(number) for number, names in rows for name in re.findall(r"`(\S+)`", names)}
    assert named == {name: number for name, number in FLOORS.items() if name != "relay"}


# --- The way of a mail, and references from the code into the documents


FLOW = (ROOT / "docs" / "flow.md").read_text()
STAGES = re.findall(r"^\| ([A-Za-z0-9]+) \| `(relay/\S+)` \|", FLOW, re.MULTILINE)


def modules_of(text):
    """The modules that a step of docs/flow.md names; a bare name is beside the one before it."""
    folder = None
    for name in re.findall(r"`((?:relay/)?[a-z0-9_/]+\.py)`", text):
        folder = str(Path(name).parent) if name.startswith("relay/") else folder
        yield ROOT / name if name.startswith("relay/") else ROOT / folder / name


@pytest.mark.parametrize("document", [FLOW, README], ids=["flow", "readme"])
def test_stages_are_those_of_the_figure(document):
    """The table of modules has the stages of the figure, in the order in which a mail passes them."""
    (figure,) = re.findall(r"^    (wire .*)$", document, re.MULTILINE)
    assert re.findall(r"[A-Za-z0-9]+", figure) == [stage for stage, _ in STAGES]


def test_every_step_of_the_flow_names_its_modules():
    """Each numbered step says which modules do it, all of them exist, and stages come in the
    figure's order.
    """
    steps = re.findall(r"^ *\d+\. (\*\*.+?)(?=^ *\d+\. |^\||^## |^$)", FLOW, re.MULTILINE | re.DOTALL)
    assert len(steps) == 12 + 4
    named = [list(modules_of(step)) for step in steps]
    assert all(named)
    assert [path for some in named for path in some if not path.exists()] == []
    assert [module for _, module in STAGES if not (ROOT / module).exists()] == []
    first = [path for some in named for path in some]
    order = [first.index(ROOT / module) for _, module in STAGES if ROOT / module in first]
    assert order == sorted(order)


def test_modules_in_documents_exist():
    """Each module that a page of docs/ names is there, so that a page cannot speak of a house that
    was left.
    """
    for path in sorted((ROOT / "docs").glob("*.md")):
        rows = re.findall(r"^\|.*\|$|^[^|\n].*$", path.read_text(), re.MULTILINE)
        missing = [
            module
            for row in rows
            if "`relay/" in row
            for module in modules_of(row[row.index("`relay/") :])
            if not module.exists()
        ]
        assert missing == [], path.name


def test_rooms_of_the_local_spool_are_all_named():
    """The table of docs/spool.md has each module of the local spool once, and no other."""
    section = (ROOT / "docs" / "spool.md").read_text().partition("## In the code")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.+?) \| .+ \|$", section, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(
        path.stem for path in (ROOT / "relay/spool/local").glob("*.py") if path.stem != "__init__"
    )


@cache
def docstrings_of(path):
    """The name and the docstring of a file's module, which has no name, and of each class and function."""
    return [
        (getattr(node, "name", ""), ast.get_docstring(node) or "")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def words_of(path):
    """Every docstring and every comment of a file, each on one line; comments below each other are one."""
    for _, docstring in docstrings_of(path):
        yield re.sub(r"\s+", " ", docstring)
    with path.open("rb") as file:
        comments = [token for token in tokenize.tokenize(file.readline) if token.type == tokenize.COMMENT]
    last, block = 0, ""
    for token in comments:
        text = re.sub(r"^#:? *", "", token.string)
        if token.start[0] == last + 1:
            block += f" {text}"
        else:
            yield block
            block = text
        last = token.start[0]
    yield block


CODE = [
    path
    for path in sorted(ROOT.glob("*/**/*.py"))
    if path.relative_to(ROOT).parts[0] in ("relay", "tests", "bench", "docs")
]


#: A file without any of these refers to nothing, and its comments need not be told from its strings.
MAY_LEAD = re.compile(
    r"docs/|`relay\.|\bdesign|\bhouse\.md|\bfacts/|\b(?:relay|tests|bench|config)/[\w/-]+\.(?:py|md|toml)\b"
)


def leads_to_section(page, section):
    """A page of docs/ is there, with a heading of this name or a row of a table that begins so."""
    aim = ROOT / "docs" / page
    if not aim.exists():
        return False
    heads = re.findall(r"^#+ (.+)$", aim.read_text(), re.MULTILINE)
    return not section or section in heads or f"| {section}" in aim.read_text()


def is_named(dotted):
    """A dotted name of ours leads to a module, or to something in one."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for part in parts[cut:]:
            fields = getattr(found, "model_fields", getattr(found, "__dataclass_fields__", {}))
            if not hasattr(found, part) and part not in fields:
                return False
            found = getattr(found, part, None)
        return True
    return False


@pytest.mark.parametrize("path", CODE, ids=name_of)
@pytest.mark.slow
def test_references_of_the_code_lead_somewhere(path):
    """A page of docs/ that a docstring or a comment names exists, and so does its section, in quotes.

    The same holds for our own modules and files. No page is named that is not ours.
    """
    wrong = []
    for text in words_of(path) if MAY_LEAD.search(path.read_text()) else ():
        wrong += re.findall(r"\bdesign(?:\.md)? §|\bhouse\.md|\bfacts/", text)
        wrong += re.findall(r"docs/[\w-]+\.md, [A-Z]\w*", text)
        for page, section in re.findall(r'docs/([\w.-]*\w)(?:, "([^"]+)")?', text):
            wrong += [] if leads_to_section(page, section) else [f"docs/{page} {section}"]
        wrong += [name for name in re.findall(r"`(relay(?:\.\w+)+)`", text) if not is_named(name)]
        wrong += [
            name
            for name in re.findall(r"(?<!/)\b((?:relay|tests|bench|config)/[\w/-]+\.(?:py|md|toml))\b", text)
            if not (ROOT / name).exists()
        ]
    assert wrong == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_files_and_modules_in_documents_exist(path):
    """Each of our files and modules that a page names is there; only the change log may tell of one that is
    gone.
    """
    files = re.findall(r"`((?:relay|tests|bench|config|docs)/[\w/.-]*\w)`", path.read_text())
    names = re.findall(r"`((?:relay\.\w+|bench)(?:\.\w+)+)[`(]", path.read_text())
    lost = [name for name in files if not (ROOT / name).exists()]
    lost += [name for name in names if not is_named(name)]
    assert path.name == "CHANGELOG.md" or lost == []


# --- The words of the code

#: Beginnings of a sentence without a noun: a reader would have to guess its subject.
RIDDLE = re.compile(
    r"(?:What|Whether|That|Nothing|Who|Whom|Whose|Where|When|How|Why|It|Its|So|Such|Which|They"
    r"|One (?:who|that|which|more))\b"
)


@pytest.mark.parametrize("path", sorted(ROOT.glob("relay/**/*.py")), ids=name_of)
@pytest.mark.slow
def test_docstring_has_a_subject_and_says_what_is_returned(path):
    """No docstring begins as a riddle, and none hides what is returned behind a semicolon."""
    found = []
    for name, docstring in docstrings_of(path):
        first = docstring.partition("\n\n")[0]
        hides = re.search(r"; (?:whether|how many|None when|None where)\b", first)
        if RIDDLE.match(first) or (name and hides):
            found.append(f"{name or 'module'}: {first}")
    assert found == []


# --- The tests themselves


@pytest.mark.parametrize("path", TESTS, ids=name_of)
@pytest.mark.slow
def test_every_test_states_its_fact(path):
    """Each test has a docstring of one sentence that says what is so."""
    for name, stated in docstrings_of(path):
        if name.startswith("test_"):
            assert stated, f"{name} has no docstring"
            fact = stated.partition("\n\n")[0]
            assert fact.endswith((".", '."', ".)")), f"{name}: {fact}"


def test_names_of_test_modules_are_unique():
    """Two test modules of one name would hide each other."""
    names = [path.name for path in TESTS]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(ROOT.glob("relay/**/*.py")) if path.name != "__main__.py"],
    ids=name_of,
)
@pytest.mark.slow
def test_every_module_says_what_it_owns(path):
    """Each module begins with a docstring that ends its first sentence."""
    _, stated = docstrings_of(path)[0]
    assert stated
    assert re.search(r"[.:]$", stated.split("\n")[0]) or "." in stated

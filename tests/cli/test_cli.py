"""The command `relay`: its help, its exit codes, and what it says when something is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from relay import __version__
from relay.cli import COMMANDS, main
from relay.config.builtin import INSTANCE_ID
from relay.config.sentences import show
from relay.errors import ConfigError, SpoolError

ROOT = Path(__file__).parent.parent.parent
RIGHT = f"""
hostname = "localhost"
data_dir = "{{data_dir}}"
[[listeners]]
bind = "127.0.0.1:0"
tls = "none"
[spool]
min_free_bytes = 0
[admin]
bind = ""
[s3]
bucket = "example-mail"
[connect]
instance_id = "{INSTANCE_ID}"
[[routes]]
match = ["support@example.com"]
"""


@pytest.fixture
def right(tmp_path):
    """A configuration with nothing wrong on this machine."""
    path = tmp_path / "relay.toml"
    path.write_text(RIGHT.format(data_dir=tmp_path))
    return str(path)


@pytest.fixture
def wrong(tmp_path):
    """A configuration with two mistakes."""
    path = tmp_path / "relay.toml"
    path.write_text(RIGHT.format(data_dir=tmp_path).replace("bucket", "buket").replace('"none"', '"no"'))
    return str(path)


def run(*arguments, env=None):
    """The command in this process: exit code, stdout and stderr."""
    return CliRunner().invoke(main, list(arguments), env={"RELAY_CONFIG": None, **(env or {})})


def test_version_is_the_packages():
    """`relay --version` says which relay this is."""
    result = run("--version")
    assert (result.exit_code, result.output) == (0, f"relay, version {__version__}\n")


def test_help_lists_every_command():
    """`relay --help` has each command with its line, and needs no command's libraries for it."""
    result = run("--help")
    assert result.exit_code == 0
    for name, command in COMMANDS.items():
        assert f"{name} " in result.output
        assert command.help in result.output


@pytest.mark.parametrize(
    "arguments", [["sevre"], ["--nope"], ["serve", "--role", "both"], ["check", "--nope"]]
)
def test_bad_usage_exits_with_2(arguments):
    """A command or option that does not exist is bad usage."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Usage:" in result.stderr


def test_serve_refuses_a_wrong_configuration(wrong):
    """Every mistake is said on stderr, one line each, and nothing is started."""
    result = run("serve", "--config", wrong)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        'relay: listeners[0].tls = "no": must be "none", "starttls", "required" or "implicit"; did you mean "none"?',
        'relay: s3.bucket: is missing; name the bucket that attachments go to, as in bucket = "example-mail" under [s3]',
        'relay: s3.buket = "example-mail": no such key; did you mean "bucket"?',
    ]


def test_serve_refuses_files_that_cannot_be_used(right):
    """What the configuration names is looked at before anything is started."""
    result = run("serve", "--config", right, env={"RELAY_SERVER__USERS_FILE": "/nowhere/users"})
    assert result.exit_code == 2
    assert result.stderr.startswith('relay: server.users_file = "/nowhere/users": cannot be read')


def test_config_comes_from_the_environment(wrong):
    """$RELAY_CONFIG names the file where --config does not."""
    result = run("serve", env={"RELAY_CONFIG": wrong})
    assert result.exit_code == 2
    assert "s3.buket" in result.stderr


def test_missing_default_config_is_said(monkeypatch):
    """Without any file the message names the place where one is looked for."""
    monkeypatch.setattr("relay.config.load.DEFAULT_PATH", "/nowhere/relay.toml")
    result = run("serve")
    assert result.exit_code == 2
    assert result.stderr.startswith("relay: /nowhere/relay.toml: there is no such file; name one by --config")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("one", "two"), 2, "relay: one\nrelay: two\n"),
        (SpoolError("the spool is away"), 1, "relay: the spool is away\n"),
    ],
)
def test_errors_become_sentences_and_codes(monkeypatch, error, code, said):
    """A configuration's mistake is 2, any other error of ours is 1; no traceback is shown."""

    @click.command()
    def broken():
        raise error

    monkeypatch.setattr(type(main), "get_command", lambda self, ctx, name: broken)
    result = run("broken")
    assert (result.exit_code, result.stderr) == (code, said)


@pytest.mark.parametrize(
    "arguments",
    [
        ["queue", "list"],
        ["queue", "summary", "--json"],
        ["trace", "ada@customer.example"],
        ["pause", "intake"],
        ["resume", "intake"],
        ["replay", "{mail}", "--rcpt", "support@example.com"],
    ],
)
@pytest.mark.parametrize(
    ("spoil", "what"), [("folder", "is no file"), ("text", "cannot be read as a database")]
)
def test_unusable_spool_is_a_sentence(right, tmp_path, arguments, spoil, what):
    """A spool that cannot be used is the operator's mistake: one sentence with the path, exit code 2, no
    traceback.
    """
    database = tmp_path / "spool" / "spool.db"
    database.parent.mkdir()
    if spoil == "folder":
        database.mkdir()
    else:
        database.write_text("no database, and not short" * 200)
    (tmp_path / "mail.eml").write_text("From: ada@customer.example\n\nHello\n")
    words = [word.format(mail=tmp_path / "mail.eml") for word in arguments]
    result = run(*words, "--config", right)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"relay: data_dir = {show(str(tmp_path))}: {database} {what}")


def test_check_says_ok_for_each_thing(right):
    """A machine with nothing wrong gets its lines of ok and exit code 0."""
    result = run("check", "--offline", "--config", right)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == f"ok    config: {right}"
    assert {line.split()[0] for line in lines} <= {"ok", "warn"}
    assert any(line.startswith("ok    listener 127.0.0.1:0: free to bind") for line in lines)


def test_check_exits_with_1_on_fail(wrong):
    """A fail is exit code 1, and each mistake of the configuration is a line."""
    result = run("check", "--offline", "--config", wrong)
    assert result.exit_code == 1
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [["fail", "config:"]] * 3


def test_check_in_json_is_one_object_a_line(right):
    """--json has the same findings for a program."""
    result = run("check", "--offline", "--json", "--config", right)
    assert result.exit_code == 0
    for line in result.stdout.splitlines():
        assert json.loads(line).keys() == {"level", "subject", "detail"}


@pytest.mark.process
def test_module_is_the_same_command():
    """`python -m relay` is `relay`."""
    result = subprocess.run(
        [sys.executable, "-m", "relay", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout == f"relay, version {__version__}\n"


@pytest.mark.process
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["--help"], ["queue", "--help"], ["check", "--offline"]])
def test_output_to_a_full_disk_is_a_sentence(right, words, unbuffered):
    """What cannot be printed is told on stderr in one line and by exit code 1, and the interpreter is
    silent.
    """
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            [sys.executable, "-m", "relay", *words],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "RELAY_CONFIG": right, "PYTHONUNBUFFERED": unbuffered},
            text=True,
            check=False,
        )
    assert (result.returncode, result.stderr) == (
        1,
        "relay: the output cannot be written: No space left on device\n",
    )


def test_fault_of_ours_is_not_taken_for_a_full_disk(monkeypatch):
    """Another error of the system keeps its traceback: it is to be reported."""

    @click.command()
    def broken():
        raise PermissionError(13, "no", "/some/file")

    monkeypatch.setattr(type(main), "get_command", lambda self, ctx, name: broken)
    assert isinstance(run("broken").exception, PermissionError)

"""`relay audit`: each command that changes something, or shows a mail, is in it, with who did it and why."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner
from spool_helpers import tables_of
from test_cli_queue import Spool

from relay.cli import COMMANDS, main
from relay.cli.actor import find_actor
from relay.faults import VARIABLE, arm_fault

#: The commands that change something, or show a mail.
AUDITED = {
    "queue retry", "queue hold", "queue release", "queue reroute", "queue drop", "queue export", "list add",
    "list remove", "passwd", "alarms test", "check", "erase", "replay", "backup", "restore", "pause", "resume",
    "fleet import", "fleet export", "route switch", "events retry",
}  # fmt: skip
#: All others, and why the audit has nothing of them.
OTHERS = {
    "init": "writes what comes before any spool, and keeps the file that it replaces",
    "serve": "the daemon's own log has it",
    "sandbox": "a daemon that nobody depends on",
    "explain": "reads a file of the person's own",
    "queue list": "shows no content",
    "queue show": "shows no content",
    "queue summary": "shows numbers",
    "list show": "shows the operator's own words",
    "policy report": "shows numbers",
    "report": "shows numbers",
    "trace": "shows no content",
    "audit": "shows the audit",
    "tail": "shows no content",
    "route list": "shows no content",
    "events status": "shows numbers",
    "fleet create": "makes the table in which the audit will lie",
    "fleet check": "shows what is missing",
    "fleet status": "shows numbers",
}
REASON = "ticket 42, Frau Müller asked"


def find_commands(group, *words):
    """All commands, by their words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from find_commands(command, *words, name)
        else:
            yield " ".join((*words, name)), command


@pytest.fixture
def spool(tmp_path, monkeypatch):
    for name in ("SUDO_USER", VARIABLE):
        monkeypatch.delenv(name, raising=False)
    return Spool(tmp_path)


def test_each_command_is_audited_or_has_its_reason():
    """A new command takes a reason for the audit, or stands in the list of those that change nothing."""
    commands = dict(find_commands(main))
    assert commands.keys() == AUDITED | OTHERS.keys()
    options = {name: {option.name for option in command.params} for name, command in commands.items()}
    assert {name for name, names in options.items() if "because" in names} == AUDITED
    assert COMMANDS.keys() <= {name.split()[0] for name in commands}


def test_actions_of_an_operator(spool, tmp_path, monkeypatch):
    """Commands on the spool, on files and on mails are told, newest last: who, what, its end, and why."""
    monkeypatch.setenv("SUDO_USER", "ann")
    blocked, users, mail = tmp_path / "blocked", tmp_path / "users", tmp_path / "mail.eml"
    spool.path.write_text(
        spool.path.read_text().replace("data_dir = ", f'lists.bad.file = "{blocked}"\ndata_dir = ')
    )
    mail.write_text("From: a@b.example\nSubject: by hand\n\nhello\n")
    spool_id = spool.put()
    because = ("--because", REASON)
    spool.run("queue", "hold", spool_id, *because)
    spool.run("queue", "release", "--route", "support", "--yes", *because)
    spool.run("queue", "release", spool_id, code=1)
    spool.run("queue", "export", spool_id, "--reason", REASON)
    spool.run("queue", "export", "nothing", code=1)
    spool.run("pause", "delivery", "--reason", REASON)
    spool.run("resume", "route", "sales")
    spool.run("replay", str(mail), "--rcpt", "support@example.com", *because)
    spool.run("replay", str(mail), "--rcpt", "x@elsewhere.example", code=1)
    spool.run("list", "add", "bad", "@spam.example", "x@spam.example", *because)
    spool.run("list", "remove", "bad", "y@spam.example", code=1)
    spool.run("passwd", "printer", "--file", str(users), input="word\n")
    spool.run("alarms", "test", code=1)
    spool.run("backup", str(tmp_path / "backup.tar"), *because)
    spool.run("queue", "drop", spool_id)
    rows = spool.json("audit")
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
    assert {(row["actor"].split(" (")[0], row["via"]) for row in rows} == {("ann", "cli")}
    assert [(row["command"], row["outcome"], row["counts"], bool(row["reason"])) for row in rows] == [
        ("queue hold", "done", {"changed": 1, "left": 0}, True),
        ("queue release", "done", {"changed": 1, "left": 0}, True),
        ("queue release", "refused", {"changed": 0, "left": 1}, False),
        ("queue export", "done", {}, True),
        ("queue export", "refused", {}, False),
        ("pause", "done", {}, True),
        ("resume", "refused", {}, False),
        ("replay", "done", {"entries": 1}, True),
        ("replay", "failed", {}, False),
        ("list add", "done", {"changed": 2, "left": 0}, True),
        ("list remove", "refused", {"changed": 0, "left": 1}, False),
        ("passwd", "done", {"changed": 1, "left": 0}, False),
        ("alarms test", "refused", {"changed": 0, "left": 0}, False),
        ("backup", "done", {"mails": 2, "waiting": 2}, True),
        ("queue drop", "done", {"changed": 1, "left": 0}, False),
    ]
    assert {row["reason"] for row in rows} == {"", REASON}
    assert rows[1]["about"] == ["--route support"]
    assert "word" not in json.dumps(rows)
    shown = spool.run("audit", "--command", "queue", "--since", "1h").stdout.splitlines()
    assert len(shown) == 6
    assert shown[0].endswith(f'(cli) queue hold {spool_id} - done: 1 changed; reason: "{REASON}"')


def test_a_restore_is_in_the_audit(spool, tmp_path, monkeypatch):
    """The restored spool tells of its restore, after all that the archive tells; one that was refused because
    a spool is there has failed.
    """
    spool.run("queue", "hold", spool.put())
    archive = str(tmp_path / "backup.tar")
    spool.run("backup", archive)
    spool.run("restore", archive, code=1)
    (tmp_path / "data").rename(tmp_path / "broken")
    spool.run("restore", archive, "--reason", REASON)
    spool.run("restore", archive, code=1)
    rows = [(row["command"], row["outcome"], row["reason"]) for row in spool.json("audit")]
    assert rows == [
        ("queue hold", "done", ""), ("backup", "begun", ""), ("restore", "done", REASON), ("restore", "failed", ""),
    ]  # fmt: skip


def test_reasons_are_bounded_and_shown_harmless(spool, monkeypatch):
    """A reason is one plain line; a name in the environment is cut, and its controls are shown escaped."""
    spool_id = spool.put()
    for text in ("two\nlines", "\x1b[2J", "x" * 201):
        assert "Invalid value" in spool.run("pause", "intake", "--reason", text, code=2).stderr
    assert spool.run("audit").stderr.startswith("relay: nothing of this")
    monkeypatch.setenv("SUDO_USER", "\x1b[2Jroot\n" + "x" * 5_000)
    spool.run("queue", "hold", spool_id)
    (row,) = spool.json("audit")
    assert row["actor"].startswith("\\x1b[2Jroot\\nxxx")
    assert len(row["actor"]) <= 100
    assert "\x1b" not in spool.run("audit").stdout


def test_the_filter_of_reasons_is_not_the_reason(spool):
    """Where --reason chooses entries, a text that no reason can be is refused, with the option that was
    meant.
    """
    spool_id = spool.put()
    said = spool.run("queue", "drop", spool_id, "--reason", REASON, code=2).stderr
    assert "--because" in said
    assert len(spool.json("queue", "list")) == 1


def test_what_cannot_be_audited_is_not_done(spool, tmp_path):
    """Where the audit takes no row, nothing is changed outside of the spool, and no mail is shown."""
    blocked = tmp_path / "blocked"
    spool.path.write_text(
        spool.path.read_text().replace("data_dir = ", f'lists.bad.file = "{blocked}"\ndata_dir = ')
    )
    spool_id = spool.put()
    with tables_of(tmp_path / "data") as tables:
        tables.execute(
            "CREATE TRIGGER full BEFORE INSERT ON actions BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
    for words in (("list", "add", "bad", "@spam.example"), ("queue", "export", spool_id)):
        result = spool.run(*words, code=1)
        assert "nothing was done, because the audit could not tell of it" in result.stderr
        assert result.stdout == ""
    assert not blocked.exists()


def test_before_the_first_start_there_is_no_audit(spool, tmp_path):
    """A login can be made before there is a spool, and a note says that no audit has it."""
    users = tmp_path / "users"
    result = spool.run("passwd", "printer", "--file", str(users), input="word\n")
    assert "there is no spool yet" in result.stderr
    assert users.exists()
    words = ["passwd", "printer", "--file", str(users), "--config", str(tmp_path / "none.toml")]
    assert CliRunner().invoke(main, words, input="word\n").exit_code == 0


def test_an_action_that_ends_with_an_error_is_failed(spool, tmp_path):
    """A backup that breaks has its beginning and its end in the audit, as failed, with the reason."""
    spool.put()
    arm_fault("spool.backup.copied:enospc")
    try:
        spool.run("backup", str(tmp_path / "backup.tar"), code=1)
    finally:
        arm_fault("")
    (row,) = spool.json("audit")
    assert (row["command"], row["outcome"]) == ("backup", "failed")
    assert row["detail"]


@pytest.mark.process
def test_a_command_that_is_killed_is_not_there_as_done(spool, tmp_path):
    """Killed within a backup, the audit knows no end of it; killed before a commit, nothing was done; after
    it the change was.
    """
    spool_id = spool.put()

    def run(point, *words):
        environ = {**os.environ, VARIABLE: point}
        line = [sys.executable, "-m", "relay", *words, "--config", str(spool.path)]
        assert (
            subprocess.run(line, check=False, env=environ, capture_output=True).returncode == -signal.SIGKILL
        )

    run("spool.backup.copied", "backup", str(tmp_path / "backup.tar"))
    run("spool.transaction.ready", "queue", "hold", spool_id)
    assert [each["state"] for each in spool.json("queue", "list")] == ["queued"]
    assert [row["command"] for row in spool.json("audit")] == ["backup"]
    run("spool.desk.committed", "queue", "hold", spool_id)
    backup, hold = spool.json("audit")
    assert (backup["command"], backup["outcome"]) == ("backup", "begun")
    assert (hold["command"], hold["outcome"]) == ("queue hold", "done")
    assert [each["state"] for each in spool.json("queue", "list")] == ["held"]
    assert "begun, no end is known" in spool.run("audit").stdout


@pytest.mark.process
def test_the_audit_is_read_on_a_full_disk(spool):
    """`relay audit` needs to write nothing beside a daemon, which has the spool open."""
    spool.run("queue", "hold", spool.put())

    def fill():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    line = [sys.executable, "-B", "-m", "relay", "audit", "--config", str(spool.path)]
    with tables_of(spool.config.data_dir):
        result = subprocess.run(line, check=False, capture_output=True, text=True, preexec_fn=fill)
    assert (result.returncode, result.stderr) == (0, "")
    assert "queue hold" in result.stdout


@pytest.mark.parametrize(
    ("sudo", "login", "name"),
    [
        ("ann", None, "ann"),
        ("ann", "4294967295", "ann"),
        ("root", "0", "root"),
        ("ann", "0", "ann (login root)"),
        ("", "0", "root"),
        ("", "4000000", "uid 4000000"),
        ("", "nonsense", "root"),
        ("", "99999999999999999999", "uid 99999999999999999999"),
        ("", None, "root"),
    ],
)
def test_the_person_is_named(tmp_path, sudo, login, name):
    """The name that sudo passes on counts first, with the kernel's word beside it where that is another; then
    the login; then the user of the process.
    """
    path = tmp_path / "loginuid"
    if login is not None:
        path.write_text(login)
    assert find_actor({"SUDO_USER": sudo}, login=path, user=0) == name


def test_instants_are_read(spool):
    """An age, a day and an instant are read; other words, and an age before all time, are refused."""
    spool.run("queue", "hold", spool.put())
    for since in ("1h", "2026-01-01", "2026-01-01T10:00Z", "2026-01-01T10:00:00+02:00"):
        assert len(spool.json("audit", "--since", since)) == 1
    assert spool.json("audit", "--until", "2026-01-01") == []
    for text in ("yesterday", "999999999d", "0001-01-01T00:00+10:00"):
        assert "Invalid value" in spool.run("audit", "--since", text, code=2).stderr

"""`relay check --live` against the simulator: answers, refusals, lost answers, and no contact is left."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from prepared import run_prepared

from relay.check.live import bench as bench_module
from relay.check.live.model import shorten
from relay.cli import main
from relay.config.builtin import INSTANCE_ID, builtin_config
from relay.sandbox.configuration import write_config

pytestmark = pytest.mark.process

ROOT = Path(__file__).parent.parent.parent
ARN = f"arn:aws:connect:eu-central-1:123456789012:instance/{INSTANCE_ID}"


@pytest.fixture
def config_path(box, tmp_path):
    """A configuration for the sandbox; what a test forbids is allowed again."""
    path = tmp_path / "relay.toml"
    write_config(builtin_config(connect={"requests_per_second": 1_000.0, "burst": 1_000}), path)
    yield path
    box.connect.denied.clear()


def line(config_path, *words):
    """The words of a command, as a process of its own."""
    return [sys.executable, "-m", "relay", "check", "--config", str(config_path), "--live", *words]


def ask(box, config_path, *words, stdin=None):
    """Run the command as a process without a terminal."""
    report = str(config_path.with_name("report"))
    if stdin is None:
        return run_prepared(
            line(config_path, *words, "--report", report, "--patience", "2")[3:],
            env=box.environ() | {"PYTHONPATH": str(ROOT)},
            folder=config_path.parent,
            seconds=55,
        )
    return subprocess.run(
        line(config_path, *words, "--report", report, "--patience", "2"),
        env=box.environ() | {"PYTHONPATH": str(ROOT)},
        cwd=config_path.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=55,
        stdin=stdin,
    )


def left(box):
    """The contacts that have not ended."""
    return [contact.contact_id for contact in box.book.select() if contact.ended_at is None]


def ask_here(box, config_path, monkeypatch, *words):
    """Run the command in this process, without pauses between tries."""
    monkeypatch.setattr(bench_module, "_PAUSE_SECONDS", 0.01)
    for name in [name for name in os.environ if name.startswith("AWS_") and name != "AWS_CA_BUNDLE"]:
        monkeypatch.delenv(name)
    arguments = ["check", "--config", str(config_path), "--live", *words]
    arguments += ["--report", str(config_path.with_name("report")), "--patience", "2"]
    return CliRunner().invoke(main, arguments, env=box.env)


def answers(config_path):
    """The answers of the report by question."""
    report = json.loads(config_path.with_name("report.json").read_text())
    return {each["name"]: each["answer"] for each in report["answers"]}


def test_a_person_gets_answers_and_a_report_to_send(box, config_path):
    """As a process: the cost and the name are said before the first contact, each contact is ended, a
    question without its permission is not asked, and the report has neither whole ids nor addresses.
    """
    box.connect.denied.add("SearchContacts")
    result = ask(box, config_path, "initiation", "token", "fan-out", "file-type", "--yes")
    assert (result.returncode, result.stderr) == (1, "relay: this is in no audit: there is no spool yet\n")
    lines = result.stdout.splitlines()
    assert "Together at most 4 contacts, 0.32 USD" in lines[3]
    assert lines[4].startswith("  starting a contact named relay-live-")
    assert "initiation: a flow sees the initiation method API and the channel EMAIL" in lines
    assert answers(config_path) == {
        "initiation": "a flow sees the initiation method API and the channel EMAIL",
        "token": "one token and payload twice: the same contact; the token with another payload: "
        "refused with IdempotencyException, without a reason",
        "fan-out": "not asked: allow connect:SearchContacts",
        "file-type": "refused with InvalidRequestException, reason INVALID_FILE_TYPE: a wrong type is told at once",
    }
    assert [each["request"]["Name"].rpartition("-")[2] for each in box.contacts()] == ["initiation", "token"]
    assert left(box) == []
    for ending in ("json", "txt"):
        text = config_path.with_name(f"report.{ending}").read_text()
        assert f"{INSTANCE_ID[:8]}…" in text
        assert not [word for word in (INSTANCE_ID, "@example", box.keys.access_key, "http") if word in text]


def test_without_stop_contact_nothing_is_started(box, config_path, monkeypatch):
    """Where contacts could not be ended, none is offered, and the sentence names the action."""
    box.connect.denied.add("StopContact")
    result = ask_here(box, config_path, monkeypatch, "initiation", "--yes")
    assert result.exit_code == 1
    assert "connect:StopContact is not allowed: no contact is started" in result.output
    assert box.contacts() == []


def test_throttled_calls_and_lost_answers_leave_no_contact(box, config_path):
    """As a process: a call that is throttled or whose answer is lost is made again with its token, so that
    its id becomes known, and all contacts have ended.
    """
    box.chaos(connect={"throttle": 0.2, "lose_reply": 0.2})
    result = ask(box, config_path, "token", "thread", "--yes")
    assert len(box.contacts()) == 5, result.stdout + result.stderr
    assert left(box) == []


def test_a_crash_leaves_a_name_by_which_contacts_are_ended(box, config_path, monkeypatch):
    """As a process that is killed while it waits: what was started was printed before, and `end` ends it."""
    env = box.environ() | {"PYTHONPATH": str(ROOT)}
    words = line(config_path, "fan-out", "--yes", "--patience", "3600")
    with subprocess.Popen(
        words, env=env, cwd=config_path.parent, stdout=subprocess.PIPE, text=True
    ) as process:
        for text in process.stdout:
            if "was started" in text:
                break
        process.kill()
    (contact_id,) = left(box)
    assert contact_id in text
    result = ask_here(box, config_path, monkeypatch, "end")
    assert result.stdout.splitlines()[-1] == "1 contacts were left, 1 have ended"
    assert left(box) == []


def test_an_interrupted_run_ends_its_contacts(box, config_path):
    """As a process that is told to stop: it ends what it has started, and writes its report."""
    env = box.environ() | {"PYTHONPATH": str(ROOT)}
    words = line(
        config_path,
        "fan-out",
        "--yes",
        "--patience",
        "3600",
        "--report",
        str(config_path.with_name("report")),
    )
    with subprocess.Popen(
        words, env=env, cwd=config_path.parent, stdout=subprocess.PIPE, text=True
    ) as process:
        for text in process.stdout:
            if "was started" in text:
                process.send_signal(signal.SIGTERM)
    assert process.returncode == 1
    assert len(box.contacts()) == 1
    assert left(box) == []
    assert json.loads(config_path.with_name("report.json").read_text())["contacts"] == {
        "started": 1,
        "ended": 1,
    }


def test_a_person_at_a_terminal_is_asked_first(box, config_path):
    """As a process at a terminal: "n" ends it, and nothing was started."""
    near, far = pty.openpty()
    os.write(near, b"n\n")
    result = ask(box, config_path, "initiation", stdin=far)
    os.close(far)
    os.close(near)
    assert "Ask? [y/N]" in result.stdout
    assert (result.returncode, box.contacts()) == (1, [])
    assert not list(config_path.parent.glob("report*"))


def test_without_a_terminal_nobody_has_agreed(box, config_path, monkeypatch):
    """Neither a terminal nor --yes: the plan is printed, and nothing is started."""
    result = ask_here(box, config_path, monkeypatch, "initiation")
    assert result.exit_code == 2
    assert "agree by --yes" in result.output
    assert box.contacts() == []


def test_a_question_that_may_not_be_asked_is_not(box, config_path, monkeypatch):
    """Without the permission of one question the others are asked, and its line says what to allow."""
    box.connect.denied.add("DescribeContact")
    result = ask_here(box, config_path, monkeypatch, "initiation", "empty", "--yes")
    assert result.exit_code == 1
    assert "initiation: not asked: allow connect:DescribeContact" in result.output
    assert "at most 1 contacts" in result.output
    assert answers(config_path)["empty"].startswith("accepted")
    assert left(box) == []


def test_a_contact_that_cannot_be_ended_ends_the_run(box, config_path, monkeypatch):
    """Its id is told with the command that ends it, and no other contact is started."""
    add = box.book.add

    def add_and_deny(*arguments, **facts):
        box.connect.denied.add("StopContact")
        return add(*arguments, **facts)

    monkeypatch.setattr(box.book, "add", add_and_deny)  # the permission is taken away meanwhile
    result = ask_here(box, config_path, monkeypatch, "initiation", "empty", "--yes")
    (contact_id,) = left(box)
    assert result.exit_code == 1
    assert (
        f"end it: aws connect stop-contact --instance-id {INSTANCE_ID} --contact-id {contact_id}"
        in result.output
    )
    assert "empty: not asked: a contact could not be ended" in result.output


def test_each_other_question_has_its_answer(box, config_path, monkeypatch):
    """Those about requests, as the simulator answers them."""
    before = box.connect.settings
    flow = [{"match": ["support@example.com", "sales@example.com"], "contact_flow_id": "a-flow"}]
    write_config(
        builtin_config(connect={"requests_per_second": 1_000.0, "burst": 1_000}, routes=flow), config_path
    )
    box.connect.settings = replace(before, has_address=lambda _, address: "relay-live" not in address)
    try:
        result = ask_here(
            box,
            config_path,
            monkeypatch,
            *(
                "fan-out",
                "rate",
                "body-bytes",
                "bare-from",
                "recipients",
                "attributes",
                "verdict",
                "thread",
                "self",
            ),
            *("unknown-address", "flow", "url-life", "file-names", "attachments", "data-image"),
            "--yes",
        )
    finally:
        box.connect.settings = before
    assert result.exit_code == 0, result.output
    found = answers(config_path)
    assert found.pop("url-life").startswith("a URL that lives 30 seconds: the file was AVAILABLE after")
    refused = "refused with InvalidRequestException, without a reason"
    missing = "refused with ResourceNotFoundException, without a reason"
    assert found == {
        "fan-out": "one contact alone: our addresses may stay in To and Cc",
        "rate": "8 of 8 at once passed, 0 were throttled",
        "body-bytes": f"{refused}: the limit of a body counts bytes",
        "bare-from": f"{refused}: such an author needs contact.fallback_from",
        "recipients": f"{refused}: 50 addresses are the most",
        "attributes": f"32,768 bytes of attributes: accepted; one more: {refused}",
        "verdict": "a flow sees of the spam verdict FAIL: connect:X-SES-SPAM-VERDICT = FAIL",
        "thread": "headers alone join a thread (with brackets: yes, without: yes)",
        "self": "accepted, and the contact is there",
        "unknown-address": f"{missing}: a wrong destination is told by this code",
        "flow": f"{missing}: a flow does not make up for a wrong destination",
        "file-names": f"one name twice: accepted; a name with an invisible character: {refused}",
        "attachments": "refused with ServiceQuotaExceededException, reason TOTAL_FILE_COUNT_EXCEEDED: "
        "10 attachments are the most",
        "data-image": "accepted: look in Contact search whether the square is shown",
    }
    assert left(box) == []


def test_questions_are_listed_with_their_cost(config_path):
    """`list` asks nobody; a name that is none is bad usage, and so is one without --live."""
    run = CliRunner().invoke
    listed = run(main, ["check", "--config", str(config_path), "--live", "list"])
    assert listed.exit_code == 0
    assert (
        "file-size: How is a file over 20 MB refused? (at most 1 contact, 0.08 USD, 22,020,096 bytes in S3"
        in listed.output
    )
    assert run(main, ["check", "--config", str(config_path), "--live", "fanout"]).exit_code == 2
    assert run(main, ["check", "--config", str(config_path), "fan-out"]).exit_code == 2
    assert run(main, ["check", "--config", str(config_path), "--live", "--offline", "list"]).exit_code == 2


def test_a_fan_out_is_counted_and_ended(box, config_path, monkeypatch):
    """A Connect that starts a contact for each of our addresses is told apart, and all of them end."""
    add = box.book.add

    def add_each(contact_id, raw, params, **facts):
        for number, _ in enumerate(params.get("AdditionalRecipients", {}).get("ToAddresses", ())):
            alone = {key: value for key, value in params.items() if key != "ClientToken"}
            add(f"{contact_id[:-1]}{number}-more", raw, alone, **facts)
        return add(contact_id, raw, params, **facts)

    monkeypatch.setattr(box.book, "add", add_each)
    begun = time.monotonic()
    result = ask_here(box, config_path, monkeypatch, "fan-out", "--yes")
    assert answers(config_path) == {"fan-out": "2 contacts: our addresses must be left out of To and Cc"}
    assert (result.exit_code, len(box.contacts()), left(box)) == (0, 2, [])
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize(
    ("text", "short"),
    [
        (INSTANCE_ID, "5eed0b0c…"),
        (f"in {ARN}, no", "in arn:connect:…, no"),
        ("arn:aws:iam::123456789012:role/desk is not", "arn:iam:… is not"),
        ("AKIAABCDEFGHIJKLMNOP", "AKIAAB…"),
        ("to ann@example.com: no", "to ADDRESS: no"),
        ("at https://b.s3.amazonaws.com/k?X-Amz-Signature=1 now", "at URL now"),
        ("account 123456789012", "account ACCOUNT"),
        ("32,768 bytes", "32,768 bytes"),
    ],
)
def test_names_are_short_in_a_report(text, short):
    """Ids keep a beginning; ARNs, accounts, addresses and URLs go, at any depth."""
    assert shorten(text) == short
    assert shorten({"a": [text, 1, None]}) == {"a": [short, 1, None]}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads a unit's environment")
def test_root_asks_with_the_environment_of_the_unit(box, config_path, monkeypatch, tmp_path):
    """The credentials of the unit count, and not those of the shell, which --as-is takes; what the unit needs
    and does not have is said before anything is asked.
    """
    keys = {name: value for name, value in box.environ().items() if name.startswith("AWS_")}
    (tmp_path / "environment").write_text("".join(f'{name}="{value}"\n' for name, value in keys.items()))
    unit = tmp_path / "relay.service"
    unit.write_text(
        f"[Service]\nUser=nobody\nEnvironmentFile={tmp_path}/environment\nExecStart=/bin/relay serve\n"
    )
    monkeypatch.setenv("SYSTEMD_UNIT_PATH", str(tmp_path))
    shell = SimpleNamespace(env=box.env | {"AWS_SECRET_ACCESS_KEY": "of the shell"})
    asked = ask_here(shell, config_path, monkeypatch, "initiation", "--yes")
    assert (asked.exit_code, left(box), len(box.book)) == (0, [], 1)
    assert f"relay: asks with the environment of {unit}\n" in asked.stderr
    assert os.environ["SYSTEMD_UNIT_PATH"] == str(tmp_path)
    assert ask_here(shell, config_path, monkeypatch, "initiation", "--yes", "--as-is").exit_code == 1
    unit.write_text(unit.read_text().replace("/environment", "/none"))
    refused = ask_here(shell, config_path, monkeypatch, "initiation", "--yes")
    assert refused.exit_code == 2
    assert f"EnvironmentFile={tmp_path}/none: No such file or directory" in refused.stderr
    assert len(box.book) == 1

"""A fleet in the sandbox: nodes that are killed and started, and sixty mails of which none is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

import pytest
from click.testing import CliRunner
from harness import build_mail, send, subjects, until
from spool_helpers import build_config, build_submission, claim_one, later

from relay.cli import main
from relay.errors import ConfigError
from relay.sandbox.configuration import sandbox_config, write_config
from relay.sandbox.daemon import DaemonError
from relay.sandbox.demo_fleet import MAILS, find_wrong, run, subject_of
from relay.sandbox.ministack import find_ministack
from relay.sandbox.nodes import Node
from relay.spool.opening import open_desk, open_intake, open_outbox
from relay.spool.page import EntryQuery

ROOT = Path(__file__).parent.parent.parent


def test_without_the_emulator_a_sentence_says_what_to_do(tmp_path, monkeypatch):
    """Where neither the environment nor the PATH has it, the command to make it is named."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="make setup-fleet"):
        find_ministack(tmp_path / "none")
    program = tmp_path / "ministack"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    assert find_ministack(tmp_path / "none") == str(program)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(("--fleet", "1"), "2<=x<=9"), (("--fleet", "3", "--no-daemon"), "give one of them")],
)
def test_a_mistake_about_nodes_is_a_sentence(arguments, sentence):
    """One node is no fleet, and a fleet of other daemons cannot be started."""
    done = CliRunner().invoke(main, ["sandbox", *arguments])
    assert done.exit_code == 2
    assert sentence in done.stderr


@pytest.mark.process
async def test_a_node_that_does_not_come_up_tells_why(tmp_path):
    """Its own words are in the sentence, because its log goes with the sandbox; it can be started later."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = sandbox_config(
            smtp=f"127.0.0.1:{taken.getsockname()[1]}", data_dir=tmp_path / "data", fleet={"node": "one"}
        )
        file = tmp_path / "one.toml"
        write_config(config, file)
        node = Node(config=config, file=file, log=tmp_path / "one.log")
        with pytest.raises(DaemonError, match=r"^one: the daemon ended .* last words: .*in use"):
            await node.start(os.environ)
    assert node.look() == "ended"
    assert not await node.kill()
    await node.stop()


def contact(number, contact_id):
    request = {"EmailMessage": {"RawMessage": {"Subject": subject_of(number)}}}
    return {"contact_id": contact_id, "request": request}


async def test_the_demo_of_a_fleet_sees_what_is_wrong(tmp_path):
    """A mail that is missing, twice, not done or without its own contact makes the demo fail."""
    config = build_config(tmp_path / "data")
    intake = open_intake(config)
    outbox = open_outbox(config)
    for number in range(MAILS):
        await intake.put(build_submission(intake.new_id()))
        await outbox.finish(await claim_one(outbox, now=later(9)), contact_id=f"c-{number}", now=later(9))
    desk = open_desk(config)
    rows = desk.page(EntryQuery(limit=2 * MAILS, seconds=60)).rows
    contacts = [contact(number, f"c-{number}") for number in range(MAILS)]
    assert list(find_wrong(contacts, rows)) == []
    assert list(find_wrong(contacts[1:], rows)) == [
        "mail 0 became 0 contacts",
        f"{rows[-1].entry.reference} has a contact that Connect does not know",
    ]
    assert list(find_wrong([*contacts, contact(5, "c-99")], rows)) == ["mail 5 became 2 contacts"]
    assert list(find_wrong([*contacts, contact(99, "c-99")], rows)) == [
        f"contacts of no mail: {subject_of(99)}"
    ]
    assert list(find_wrong(contacts, rows[1:])) == [f"the table has {MAILS - 1} entries"]
    assert len(list(find_wrong(contacts, (rows[0], *rows[:-1])))) == 2
    await intake.put(build_submission(intake.new_id()))
    found = list(find_wrong(contacts, (*desk.page(EntryQuery(limit=1)).rows, *rows[1:])))
    assert [each.partition(" ")[2] for each in found] == ["is queued"]
    desk.close()
    await outbox.close()
    await intake.close()


def find_processes(place):
    """The processes that speak of a folder in their arguments or work there."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace")
            folder = (process / "cwd").readlink()
            is_dead = (process / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            continue
        if not is_dead and (str(place) in words or str(place) in str(folder)):
            found.append(words)
    return found


def skip_without_emulator():
    try:
        find_ministack()
    except ConfigError as exc:
        pytest.skip(str(exc))


@pytest.mark.system
@pytest.mark.process
@pytest.mark.timeout(300)
async def test_sixty_mails_survive_two_kills(tmp_path, capsys):
    """`make demo-fleet`: two of three nodes die by kill -9, the leader first; every mail is one contact, by
    Connect and by the table, and no process is left.
    """
    skip_without_emulator()
    assert await run(tmp_path, seed=2) == 0
    said = capsys.readouterr().out
    assert len(re.findall(r"kill -9 of node-\d", said)) == 2
    assert "none twice" in said
    assert find_processes(tmp_path) == []


def ask(page, path, fields=None):
    data = None if fields is None else urlencode(fields).encode()
    with urllib.request.urlopen(f"{page}{path}", data, timeout=60) as answer:
        return answer.read().decode()


@pytest.mark.system
@pytest.mark.process
@pytest.mark.timeout(300)
def test_a_node_of_the_sandbox_is_killed_and_comes_again(tmp_path):
    """`relay sandbox --fleet 2`: the page says which node accepted and which delivered, its button kills one
    with all its processes and starts it again, mail goes on meanwhile, and Ctrl-C leaves nothing behind.
    """
    skip_without_emulator()
    place = tmp_path / "box"
    arguments = ("--fleet", "2", "--smtp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir", str(place))
    with (
        (tmp_path / "said").open("w") as said,
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "relay", "sandbox", *arguments], cwd=ROOT, stdout=said, stderr=log
        ) as process,
    ):
        try:
            _kill_and_start(process, tmp_path)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=90) == 0, (tmp_path / "log").read_text()
        finally:
            process.terminate()
    assert find_processes(place) == []


def _kill_and_start(process, tmp_path):
    def is_up():
        assert process.poll() is None, (tmp_path / "log").read_text()
        return "Ctrl-C stops it." in (tmp_path / "said").read_text()

    until(is_up, seconds=150)
    lines = (tmp_path / "said").read_text()
    ports = dict(re.findall(r"(node-\d)  127\.0\.0\.1:(\d+)", lines))
    page = re.search(r"their mails at (\S+)/ ", lines)[1]
    send(int(ports["node-1"]), build_mail(1), to=("support@example.com",))
    until(lambda: "delivered by" in ask(page, "/"), seconds=90)
    assert "accepted by <bdi>node-1</bdi>" in ask(page, "/")
    leader = re.search(r"delivered by <bdi>(node-\d)", ask(page, "/"))[1]
    (other,) = {*ports} - {leader}
    token = re.search(r'name="form_token" value="([^"]+)"', ask(page, "/try"))[1]
    assert f"{leader} is killed." in ask(page, "/nodes", {"form_token": token, "node": leader, "kill": "yes"})
    assert "killed" in ask(page, "/nodes")
    assert len(find_processes(tmp_path / "box" / leader)) == 0
    send(int(ports[other]), build_mail(2), to=("support@example.com",))
    until(lambda: f"delivered by <bdi>{other}</bdi>" in ask(page, "/"), seconds=90)
    ask(page, "/nodes", {"form_token": token, "node": leader, "start": "yes"})
    until(lambda: ask(page, "/nodes").count('name="kill"') == 2, seconds=90)
    send(int(ports[leader]), build_mail(3), to=("support@example.com",))
    until(lambda: len(json.loads(ask(page, "/api/contacts"))) == 3, seconds=90)
    assert sorted(subjects(json.loads(ask(page, "/api/contacts")))) == ["Mail 1", "Mail 2", "Mail 3"]
    (line,) = [line for line in lines.splitlines() if "queue list" in line]
    for command in ("queue list --all --json", "report --json"):
        done = subprocess.run(
            line.replace("queue list", command), shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
        )  # fmt: skip
        found = json.loads(done.stdout)
    assert "received" in found

"""`relay sandbox` as a person runs it: start, lines, a mail, Ctrl-C."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from click.testing import CliRunner
from harness import build_mail, free_port, send, subjects, until

from relay.cli import main
from relay.config.builtin import INSTANCE_ID

ROOT = Path(__file__).parent.parent.parent

# seconds on an idle machine; a busy one starts Python slowly
pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]


def command(*arguments):
    return [sys.executable, "-m", "relay", "sandbox", *arguments]


@pytest.fixture
def started(tmp_path):
    """Start `relay sandbox`; its process, and where its words go."""
    processes = []

    def start(*arguments):
        with (tmp_path / "said").open("w") as said, (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(
                command(*arguments),
                cwd=ROOT,
                stdout=said,
                stderr=log,
            )
        processes.append(process)

        def look():
            assert process.poll() is None, (tmp_path / "log").read_text()
            return "Ctrl-C stops it." in (tmp_path / "said").read_text()

        until(look, seconds=100)
        return process, tmp_path / "said"

    yield start
    for process in processes:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=30)


def contacts(page):
    with urllib.request.urlopen(f"{page.rstrip('/')}/api/contacts") as answer:
        return json.load(answer)


def ask(page, path, fields=None):
    """The text of a page, or of what a form of it is answered."""
    data = None if fields is None else urlencode(fields).encode()
    try:
        with urllib.request.urlopen(f"{page.rstrip('/')}{path}", data, timeout=60) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as exc:
        return f"{exc.code} {exc.read().decode()}"


def try_on_the_page(page):
    """A mail of the form goes through the door, and its dialog is shown; faults are switches. No other page
    can send these forms.
    """
    word = re.search(r'name="form_token" value="([^"]+)"', ask(page, "/try"))[1]
    mail = {
        "sender": "you@example.org",
        "recipient": "support+lose@example.com",
        "subject": "Tried",
        "body": "?",
    }
    assert ask(page, "/try", mail).startswith("403")
    said = ask(page, "/try", mail | {"form_token": word})
    entry = re.search(r"queued as (\w+)", said)[1]
    transcript = ask(page, re.search(r'href="(/sessions/[^"]+)"', said)[1])
    assert all(
        line in transcript for line in ("rcpt TO:&lt;support+lose@example.com&gt;", f"queued as {entry}")
    )
    until(lambda: "Tried" in subjects(contacts(page)))
    until(lambda: "Became the contact" in ask(page, f"/mails/{entry}"), seconds=60)
    assert subjects(contacts(page)).count("Tried") == 1, "its reply was lost, and it is one contact"
    refused = ask(page, "/try", mail | {"form_token": word, "recipient": "you@elsewhere.example"})
    assert "550 5.7.1" in refused
    assert "refused: 550 5.7.1" in ask(page, "/sessions")
    assert ask(page, "/faults", {"fault:connect.throttle": "0.25"}).startswith("403")
    ask(page, "/faults", {"fault:connect.throttle": "0.25", "form_token": word})
    assert json.loads(ask(page, "/api/chaos"))["connect"]["throttle"] == 0.25
    assert ask(page, "/faults", {"fault:connect.throttle": "much", "form_token": word}).startswith("400")
    ask(page, "/faults", {"end": "yes", "form_token": word})
    assert json.loads(ask(page, "/api/chaos"))["connect"]["throttle"] == 0.0


def test_a_mail_is_shown_and_ctrl_c_ends_it_all(started):
    """Any port that is free is told; a mail is a contact; the line about the queue works; mails can be tried
    on the page; nothing is left behind.
    """
    process, said = started("--smtp", "127.0.0.1:0", "--http", "127.0.0.1:0")
    lines = said.read_text()
    smtp, page = re.search(
        r"takes mail at 127\.0\.0\.1:(\d+) and shows its contacts at (\S+)", lines
    ).groups()
    with urllib.request.urlopen(page) as answer:
        assert f"127.0.0.1:{smtp}" in answer.read().decode()
    send(int(smtp), build_mail(1), to=("anybody@example.com",))
    until(lambda: subjects(contacts(page)) == ["Mail 1"])
    (line,) = [line for line in lines.splitlines() if "queue list" in line]

    def listed():
        done = subprocess.run(
            f"{line} --all --json",
            shell=True,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return [entry["state"] for entry in json.loads(done.stdout)] == ["done"]

    until(listed, seconds=60)
    try_on_the_page(page)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    for port in (int(smtp), urlsplit(page).port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


def test_somebodys_own_routes_are_tried(started, tmp_path):
    """With --config the routes, the bucket and the instance are one's own; the data lies where it
    was told.
    """
    own = tmp_path / "own.toml"
    own.write_text(
        '[s3]\nbucket = "my-bucket"\n[connect]\ninstance_id = "12345678-90ab-cdef-1234-567890abcdef"\n'
        '[[routes]]\nmatch = ["@shop.example"]\ndestination = "desk@shop.example"\n'
    )
    smtp, http = free_port(), free_port()
    ports = ("--smtp", f"127.0.0.1:{smtp}", "--http", f"127.0.0.1:{http}")
    process, _ = started(*ports, "--config", str(own), "--data-dir", str(tmp_path / "kept"))
    send(smtp, build_mail(2, attachment=b"%PDF-1.7"), to=("x@shop.example",))
    (contact,) = until(lambda: contacts(f"http://127.0.0.1:{http}"))
    assert (contact["request"]["InstanceId"], contact["request"]["DestinationEmailAddress"]) == (
        "12345678-90ab-cdef-1234-567890abcdef",
        "desk@shop.example",
    )
    assert contact["attachments"][0]["size"] == 8
    assert (tmp_path / "kept" / "data").is_dir()
    process.terminate()
    assert process.wait(timeout=30) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--smtp", "everywhere"), '"everywhere" is no address and port'),
        (("--http", "127.0.0.1"), '"127.0.0.1" is no address and port'),
        (("--config", "/nowhere/relay.toml"), "/nowhere/relay.toml"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_2(arguments, sentence):
    """As with every other command."""
    done = CliRunner().invoke(main, ["sandbox", *arguments])
    assert done.exit_code == 2
    assert sentence in done.stderr


def test_a_port_that_is_taken_is_a_sentence_and_exit_2():
    """The page's port is somebody else's."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        done = CliRunner().invoke(main, ["sandbox", "--http", bind])
    assert done.exit_code == 2
    assert done.stderr.startswith(f"relay: --http {bind}: ")


def test_without_a_daemon_it_prints_the_account():
    """For those who run the daemon themselves."""
    process = subprocess.Popen(
        command("--no-daemon", "--http", "127.0.0.1:0"), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("# page: "):
            break
    process.terminate()
    assert process.wait(timeout=30) == 0
    process.stdout.close()
    assert any(line.startswith("export AWS_ENDPOINT_URL_CONNECT=http://127.0.0.1:") for line in lines)
    assert "export RELAY_S3__BUCKET=relay-sandbox\n" in lines
    assert f"export RELAY_CONNECT__INSTANCE_ID={INSTANCE_ID}\n" in lines

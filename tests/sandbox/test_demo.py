"""`make demo`: exits 0 only if every mail arrived, and says of each what its contact is."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import runpy
import signal
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from aws_parts import request_for

from relay.sandbox.daemon import DaemonError, open_daemon
from relay.sandbox.demo import differences, run, show
from relay.sandbox.demo_mails import demo_mails

ROOT = Path(__file__).parent.parent.parent


def read(url):
    """The text of a page."""
    with urllib.request.urlopen(url, timeout=60) as answer:
        return html.unescape(answer.read().decode())


@pytest.mark.process
@pytest.mark.timeout(180)  # seconds on an idle machine; a busy one starts Python slowly
def test_the_demo_shows_every_contact_and_exits_0():
    """The first command of a newcomer, which stays up and ends with the page's address, where all the mails
    are.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "relay.sandbox.demo", "--stay"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "Ctrl-C ends it." in line:
            break
    said = "".join(lines)
    if found := re.search(r"See them at (\S+)/ and send more to", said):
        page = read(found[1])
        mail = re.search(r'href="(/mails/[^"]+)"(?:(?!</a>).)*Invoice and meter readings', page, re.DOTALL)
        opened = read(f"{found[1]}{mail[1]}")
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 0, said + rest + errors
    assert "8 mails sent, 8 contacts: every one arrived." in said
    assert all(mail.subject in said and mail.subject in page for mail in demo_mails())
    assert "   sender   verified: bank.example signed this\n" in said
    assert "   sender   not verified: the domain asks to reject such mail\n" in said
    assert "As Connect fetched them" in opened
    assert 'class="available"' in opened
    assert (rest, errors) == ("", "")


def test_pictures_are_left_out_where_no_browser_is(monkeypatch, capsys):
    """`make screenshots` says in a sentence what is missing, and fails nothing."""
    monkeypatch.setenv("PATH", "/nowhere")
    assert runpy.run_path(str(ROOT / "docs" / "screenshots.py"))["main"]() == 0
    assert capsys.readouterr().out.startswith("no pictures: Chromium is not here")


@pytest.mark.process
@pytest.mark.timeout(180)
async def test_a_mail_that_arrives_otherwise_is_told(tmp_path, capsys):
    """A demo that could not fail would show nothing."""
    altered = replace(demo_mails()[0], sentence="words that nobody wrote", files=(("lost.pdf", 64 * "0"),))
    assert await run(tmp_path, [altered]) == 1
    said = capsys.readouterr().out
    assert '"Where is my order 4711?": "words that nobody wrote" is not in the body' in said
    assert '"Where is my order 4711?": lost.pdf is neither attached nor named in the body' in said
    assert "delivery.attempted" in said  # the daemon's own log, to find out why


DATA = b"%PDF-1.4"
DIGEST = hashlib.sha256(DATA).hexdigest()


def contact(body="nothing has come", sender="anna@kunde.example", files=((DIGEST, 8),)):
    request = request_for(FromEmailAddress={"EmailAddress": sender})
    request["EmailMessage"]["RawMessage"] |= {"Subject": "Where is my order 4711?", "Body": body}
    attachments = [{"name": "a.pdf", "size": size, "sha256": digest} for digest, size in files]
    return {"contact_id": "c-1", "request": request, "attachments": attachments}


@pytest.mark.parametrize(
    ("found", "sentences"),
    [
        (contact(), []),
        (contact(files=()), ["a.pdf is neither attached nor named in the body"]),
        (contact(files=(), body="nothing has come; a.pdf was kept"), []),
        (
            contact(files=((None, None),)),
            ["Connect could not fetch a.pdf", "a.pdf is neither attached nor named in the body"],
        ),
        (contact(files=(("0" * 64, 8),)), ["a.pdf is neither attached nor named in the body"]),
        (contact(sender="eve@kunde.example"), ["it comes from eve@kunde.example, not anna@kunde.example"]),
    ],
)
def test_what_did_not_arrive_is_named(found, sentences):
    """Words, people and files: whatever is missing has its sentence."""
    mail = replace(demo_mails()[0], files=(("a.pdf", DIGEST),))
    assert differences(mail, found) == sentences


def test_a_wrong_word_about_the_sender_is_named():
    """A spoofed mail that an agent would take for a verified one is a difference."""
    mail = replace(demo_mails()[0], identity="not verified")
    found = contact(files=())
    found["request"]["Attributes"] = {"relay_identity": "verified: bank.example signed this"}
    assert differences(mail, found) == [
        'an agent reads "verified: bank.example signed this", not "not verified"'
    ]


def test_a_picture_must_be_drawn():
    """An inline image is in the body itself, or it is missing."""
    mail = replace(demo_mails()[0], pictures=(DATA,))
    assert differences(mail, contact(body="nothing has come")) == ["a picture is not drawn in the body"]
    assert differences(mail, contact(body=f"nothing has come {base64.b64encode(DATA).decode()}")) == []


def test_a_contact_is_shown_in_a_few_lines():
    """Who, where to, what, and which files."""
    lines = show(1, replace(demo_mails()[0], files=(("a.pdf", DIGEST),)), contact()).splitlines()
    assert lines == [
        "1. Where is my order 4711?   (a plain mail)",
        "   from     <anna@kunde.example>",
        "   to       support@example.com",
        "   body     text/plain: nothing has come",
        f"   file     a.pdf  8 B  sha256 {DIGEST[:16]}…  as sent",
        "   contact  c-1",
    ]


@pytest.mark.process
async def test_a_daemon_that_does_not_come_up_is_told(tmp_path, box):
    """A configuration that the daemon refuses ends the sandbox in a sentence, not in silence."""
    (tmp_path / "relay.toml").write_text("hostname = 1\n")
    with pytest.raises(DaemonError, match="ended with exit code 2 before it was up"):
        async with open_daemon(tmp_path / "relay.toml", box.environ(), stderr=subprocess.DEVNULL):
            pass

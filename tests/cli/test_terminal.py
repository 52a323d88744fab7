"""What a stranger chose, as a terminal may show it."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from spool_helpers import build_destination
from test_cli_queue import Spool

from relay.cli import main
from relay.terminal import write_out, write_out_json

#: U+202A to U+202E and the rest of the characters that turn or hide writing, controls of C0 and C1,
#: separators.
ARMED = [
    *map(chr, (*range(0x20), *range(0x7F, 0xA0), *range(0x200B, 0x2010), *range(0x2028, 0x202F))),
    *map(
        chr, (*range(0x2060, 0x2070), 0xAD, 0x061C, 0x180E, 0xFEFF, *range(0xE0000, 0xE0080), 0xD800, 0xDFFF)
    ),
]
ANY_ARMED = re.compile("[" + "".join(map(re.escape, ARMED)) + "]")
#: As many as one header, address or file name holds of them, each after a letter so that nothing trims them.
HOSTILE = (
    "x" + "x".join(char for char in ARMED if char not in "\r\n\0" and not "\ud800" <= char <= "\udfff") + "x"
)


@pytest.mark.parametrize("char", ARMED, ids=lambda char: f"{ord(char):04X}")
def test_each_is_written_out(char):
    """Each such character becomes ASCII that names it, in words and in JSON."""
    assert write_out(f"a{char}b") == f"a{char.encode('unicode_escape').decode()}b"
    document = write_out_json(json.dumps(f"a{char}b", ensure_ascii=False))
    assert document.isascii()
    assert json.loads(document) == f"a{char}b"


@pytest.mark.parametrize(
    "text", ["Grüße", "日本語\u3000の\u00a0名", "שלום", "مرحبا", "e\u0301", "☎\ufe0f", "a\\b"]
)
def test_writing_of_people_stays(text):
    """Letters of all scripts, accents and blanks are shown as they are."""
    assert write_out(text) == text


@given(
    st.recursive(
        st.text() | st.none(), lambda some: st.lists(some) | st.dictionaries(st.text(), some), max_leaves=9
    )
)
@pytest.mark.slow
def test_json_means_what_it_meant(value):
    """Written out, a document still has the same values, however it is laid out."""
    for indent in (None, 2):
        document = write_out_json(json.dumps(value, ensure_ascii=False, indent=indent))
        assert json.loads(document) == value
        assert not ANY_ARMED.search(document.replace("\n", ""))


def disarmed(output):
    """The output, which holds none of the characters but line ends."""
    assert not ANY_ARMED.search(output.replace("\n", ""))
    return output


def mail(*, kind=b"text/plain"):
    """A mail that has them wherever a sender can put words."""
    words = HOSTILE.encode()
    return (
        b"From: " + words + b" <a@b.example>\nTo: " + words + b" <support@example.com>\nCc: " + words + b" <c@d.example>\n"
        b"Subject: " + words + b"\nMessage-ID: <" + words + b"@x>\nReply-To: " + words + b" <r@d.example>\n"
        b'Content-Type: multipart/mixed; boundary="b"\n\n--b\nContent-Type: ' + kind + b"; charset=utf-8\n\n"
        + words + b"\n--b\nContent-Type: application/" + words + b'; name="' + words + b'.exe"\n'
        b'Content-Disposition: attachment; filename="' + words + b'.exe"\n\nMZ\n'
        b"--b\nContent-Type: message/rfc822\n\nSubject: " + words + b"\n\nhello\n--b--\n"
    )  # fmt: skip


@pytest.mark.process
@pytest.mark.parametrize("kind", [b"text/plain", b"text/html"])
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_explain_writes_out(tmp_path, kind, form):
    """`relay explain` shows no character that hides or turns a name: "exe.fdp" is never read as "pdf.exe"."""
    file = tmp_path / "m\u202e.eml"
    file.write_bytes(mail(kind=kind))
    result = CliRunner().invoke(main, ["explain", *form, str(file)])
    assert result.exit_code == 0, result.output
    printed = disarmed(result.stdout)
    for escape in ("\\u202e", "\\u200b", "\\ufeff"):
        assert printed.count(escape) > 3, escape


@pytest.mark.process
@pytest.mark.parametrize(
    "words",
    [("queue", "list"), ("queue", "show", "ID"), ("queue", "summary"), ("trace", "ID"), ("queue", "release", "ID"), ("trace", f"{HOSTILE}@y")],
)  # fmt: skip
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_queue_and_trace_write_out(tmp_path, words, form):
    """Whatever of an entry a peer chose, no command hands it to the terminal as it came."""
    spool = Spool(tmp_path)
    there = replace(build_destination(address=f"{HOSTILE}@x", route=HOSTILE), forward_paths=(f"{HOSTILE}@y",))
    spool_id = spool.put(message_id=f"<{HOSTILE}@x>", reverse_path=f"{HOSTILE}@y", destinations=(there,))
    spool.deliver(outcome="hold", reason="class.list", detail=HOSTILE)
    result = spool.run(*(spool_id if word == "ID" else word for word in words), *form)
    disarmed(result.output)
    assert result.output


@pytest.mark.process
def test_commands_have_one_way_to_the_terminal():
    """Only modules that are named here, each for its reason, write to the terminal past
    `relay.cli.entries`.
    """
    allowed = {
        "entries.py",  # the way itself
        "__init__.py",  # errors, before anything else is imported; written out there
        "explain.py",  # JSON, written out there
        "findings.py",  # a coloured word before a written-out sentence
        "fleet.py",  # JSON of words of our own
        "init.py",  # no peer has said anything; what stood in a file is written out there
        "live.py",  # a line is flushed at once; written out there
        "progress.py",  # the title of a task, and a number
        "queue.py",  # `export`: the octets themselves
        "replay.py",  # a spool id
        "sandbox.py",  # no peer has said anything
        "tail.py",  # a line is flushed at once; written out in `Transcript`
    }
    folder = Path(__file__).parent.parent.parent / "relay" / "cli"
    found = {
        path.name
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in ("echo", "secho")
        and getattr(node.value, "id", "") == "click"
    }
    assert found <= allowed

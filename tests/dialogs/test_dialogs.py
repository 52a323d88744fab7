"""Replays every dialog of this folder; README.md there says how they are written."""

from __future__ import annotations

import asyncio
import fnmatch
import re
import socket
import ssl
import struct
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from certificates import Papers
from harness import until
from serving import Serving, build_config

from relay.telemetry.refusals import find_refusals

FOLDER = Path(__file__).parent
DIALOGS = sorted(FOLDER.glob("*.smtp"))
_SPECIAL = ("@ config", "@ spool", "DRAIN", "RELEASE")
_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|[rnt0\\])")
_REPEAT = re.compile(rb"\{([^{}]*)\*(\d+)\}")
_REFERENCE = re.compile(rb"^5\d\d 5\.\d+\.\d+ [^\[]+ \[([0-9A-Z]{10,32})\]\r$")
_PLAIN = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


def octets(text: str) -> bytes:
    """TEXT as the README explains it."""

    def escape(match: re.Match[bytes]) -> bytes:
        return _PLAIN.get(match[1]) or bytes([int(match[1][1:], 16)])

    spelt = _ESCAPE.sub(escape, text.encode())
    return _REPEAT.sub(lambda match: match[1] * int(match[2]), spelt)


def pattern(text: str) -> str:
    """A pattern in which only the star is special."""
    return text.replace("[", "[[]").replace("?", "[?]")


def shown(text: str) -> str:
    return text if len(text) < 200 else text[:200] + "..."


def is_plain(path: Path) -> bool:
    """A dialog can be had with a daemon as it comes: it asks for nothing special of configuration
    or spool.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    return not any(line.startswith(_SPECIAL) or "T000000" in line for line in lines)


def marked(paths: Iterable[Path]) -> list[Any]:
    """Parameters, named by their files; types of files are looked at by a process."""
    return [
        pytest.param(
            path, id=path.stem, marks=[pytest.mark.process] * ("disallowed_types" in path.read_text())
        )
        for path in paths
    ]


class Line:
    """One connection of the client."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""
        #: The ids in refusals.
        self.refused: set[str] = set()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read(self) -> bytes:
        """The next line; b"" at the end."""
        while b"\n" not in self.buffer:
            try:
                more = self.sock.recv(65_536)
            except (ConnectionResetError, ssl.SSLError):
                more = b""
            if not more:
                left, self.buffer = self.buffer, b""
                return left
            self.buffer += more
        line, _, self.buffer = self.buffer.partition(b"\n")
        named = _REFERENCE.search(line)
        assert not line.startswith(b"5") or named, f"a 5yz without our id: {line!r}"
        if line.startswith(b"5") and named:
            self.refused.add(named[1].decode())
        return line + b"\n"

    def secure(self, papers: Papers, shown: str) -> None:
        context = ssl.create_default_context(cafile=str(papers.ca))
        if shown == "with certificate":
            context.load_cert_chain(papers.client_certificate, papers.client_key)
        elif shown:
            assert shown == "with unknown certificate", "no such certificate; see README.md"
            context.load_cert_chain(papers.unknown_certificate, papers.unknown_key)
        self.sock = context.wrap_socket(self.sock, server_hostname="mx.test.example")


class Dialog:
    """One file, being replayed."""

    def __init__(self, path: Path, papers: Papers, loop: str, refusals: Path) -> None:
        self.papers = papers
        #: The folder of what peers were refused.
        self.refusals = refusals
        self.loop = loop
        self.lines = [
            (number, line)
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
            if line.strip() and not line.startswith("#")
        ]
        self.listener: dict[str, Any] = {"bind": "127.0.0.1:0", "tls": "starttls"}
        self.tables: dict[str, Any] = {}
        self.connections: list[Line] = []
        self.serving: Serving | None = None

    def replay(self) -> None:
        try:
            for number, line in self.lines:
                try:
                    self.step(line)
                except AssertionError as exc:
                    raise AssertionError(f"line {number}: {shown(line)}: {exc}") from exc
                except OSError as exc:
                    raise AssertionError(f"line {number}: {shown(line)}: {exc!r}") from exc
            self.find_refusals()
        finally:
            for line in self.connections:
                line.sock.close()
            if self.serving is not None:
                self.serving.__exit__()

    def find_refusals(self) -> None:
        """Each id that a refusal had leads to what was refused, as `relay trace` looks for it."""
        for reference in set().union(*(line.refused for line in self.connections)):
            assert until(lambda name=reference: find_refusals(self.refusals, name))

    def server(self) -> Serving:
        if self.serving is None:
            tables: dict[str, Any] = {
                "tls": {
                    "certificate": str(self.papers.certificate),
                    "key": str(self.papers.key),
                    "client_ca": str(self.papers.ca),
                },
                "server": {"users_file": str(self.papers.users)},
                "listeners": [self.listener],
            }
            for key, inner in self.tables.items():
                tables[key] = (tables.get(key, {}) | inner) if isinstance(inner, dict) else inner
            self.serving = Serving(
                build_config(self.papers, **tables), loop=self.loop, refusals=self.refusals
            ).__enter__()
        return self.serving

    @property
    def line(self) -> Line:
        if not self.connections:
            self.connections.append(Line(self.server().connect()))
        return self.connections[-1]

    def step(self, line: str) -> None:  # noqa: C901 - one branch a kind of line
        word, _, rest = line.partition(" ")
        match word:
            case "@":
                self.directive(rest)
            case "C:":
                self.line.send(octets(rest) + b"\r\n")
            case "C>":
                self.line.send(octets(rest))
            case "S:":
                got = self.line.read()
                assert got.endswith(b"\r\n"), f"got {got!r}"
                text = got[:-2].decode()
                assert fnmatch.fnmatchcase(text, pattern(rest)), f"got {text!r}"
            case "S+":
                self.reply(rest)
            case "TLS":
                self.line.secure(self.papers, rest)
            case "SHUT":
                self.line.sock.shutdown(socket.SHUT_WR)
            case "RESET":
                self.line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.line.sock.close()
            case "CLOSED":
                got = self.line.read()
                assert got == b"", f"got {got!r}"
            case "SILENT":
                self.silent()
            case "NEW":
                source = rest.removeprefix("from ") if rest else None
                self.connections.append(Line(self.server().connect(source=source)))
            case _:
                self.look(word, rest)

    def silent(self) -> None:
        assert self.line.buffer == b"", f"got {self.line.buffer!r}"
        self.line.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            self.line.sock.recv(1)
        self.line.sock.settimeout(10)

    def directive(self, rest: str) -> None:
        kind, _, setting = rest.partition(" ")
        if kind == "spool":
            spool = self.server().spool
            spool.has_room = setting != "noroom"
            spool.is_paused = setting == "paused"
            spool.fault = setting if setting in ("full", "sick", "bug", "hang") else ""
            return
        assert self.serving is None, "the server runs already"
        value = tomllib.loads(setting)
        if kind == "listener":
            self.listener |= value
        else:
            for key, inner in value.items():
                self.tables[key] = (self.tables.get(key, {}) | inner) if isinstance(inner, dict) else inner

    def reply(self, rest: str) -> None:
        code, _, condition = rest.partition(" ")
        lines = []
        while True:
            got = self.line.read().decode()
            assert got.startswith(code), f"got {got!r} after {lines}"
            lines.append(got[4:].rstrip())
            if got[3:4] != "-":
                break
        verb, _, text = condition.partition(" ")
        if verb:
            assert any(text in each for each in lines) == (verb == "has"), f"got {lines}"

    def look(self, word: str, rest: str) -> None:
        serving = self.server()
        spool = serving.spool
        match word:
            case "SPOOLED":
                until(lambda: len(spool.mails) >= int(rest))
                assert len(spool.mails) == int(rest)
            case "BODY":
                assert spool.body() == octets(rest)
            case "TRACE":
                mail = spool.mails[-1]
                text = " ".join(spool.raw()[: mail.trace_size].decode().split())
                assert fnmatch.fnmatchcase(text, pattern(rest)), f"got {text!r}"
            case "ENVELOPE":
                for key, wanted in tomllib.loads(rest).items():
                    envelope = spool.mails[-1].envelope
                    if key == "forward_paths":
                        got: Any = [path.address for path in envelope.forward_paths]
                    else:
                        got = getattr(envelope, key, None) or getattr(envelope.peer, key, None)
                    got = list(got) if isinstance(got, tuple) else got
                    assert got == wanted or (not got and not wanted), f"{key} is {got!r}"
            case "CONFIRMED":
                until(lambda: len(spool.confirmed) >= int(rest))
                assert len(spool.confirmed) == int(rest)
            case "DRAIN":
                asyncio.run_coroutine_threadsafe(serving.server.drain(float(rest)), serving.loop)
            case "RELEASE":
                spool.release_now(serving.loop)
            case _:
                raise AssertionError("no such line; see README.md")


@pytest.mark.parametrize("path", marked(DIALOGS))
def test_dialog(path, papers, tmp_path):
    """The server answers as the dialog says, on the event loop of the standard library."""
    Dialog(path, papers, "asyncio", tmp_path).replay()


@pytest.mark.parametrize("path", marked(path for path in DIALOGS if not is_plain(path)))
def test_dialog_on_uvloop(path, papers, tmp_path):
    """What cannot be had with a daemon, whose loop is uvloop, is answered the same on that loop, too."""
    Dialog(path, papers, "uvloop", tmp_path).replay()


def test_dialogs_say_what_they_hold():
    """There are at least 120 dialogs, and each begins with a comment that says its fact."""
    assert len(DIALOGS) >= 120
    assert [path.name for path in DIALOGS if not path.read_text(encoding="utf-8").startswith("# ")] == []

"""The dialog with rspamd, against fakes on real sockets."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.scan.model import ScanWord, build_scan_attributes
from relay.scan.rspamd import Envelope, build_request_headers, read_answer, scan_by_rspamd

ENVELOPE = Envelope(
    peer="192.0.2.7",
    helo="mail.customer.example",
    reverse_path="jane@customer.example",
    recipients=("support@example.com", "sales@example.com"),
    queue_id="0123456789ab",
)
MAIL = (b"Subject: Hi\r\n\r\n", b"Hello\r\n")
ANSWER = {
    "action": "reject",
    "score": 15.2,
    "required_score": 15,
    "symbols": {"GTUBE": {"score": 15.0}, "MX": {"score": -0.1}, "ZERO": {"score": 0}, "ODD": 3},
}


async def stream(chunks):
    """A mail piece by piece, as a session gives it."""
    for chunk in chunks:
        yield chunk


@asynccontextmanager
async def serving(answer):
    got = []

    tasks = set()

    async def meet(reader, writer):
        tasks.add(asyncio.current_task())
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            size = next(
                int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
            )
            got.append((head, await reader.readexactly(size)))
            await answer(writer)
        except (ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass  # the other side has what it wanted
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", got
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def saying(octets, status="200 OK", length=None):
    async def answer(writer):
        size = len(octets) if length is None else length
        writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status.encode(), size))
        writer.write(octets)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    return answer


async def scan(answer, seconds=5.0):
    async with serving(answer) as (url, got):
        size = sum(map(len, MAIL))
        result = await scan_by_rspamd(url, stream(MAIL), size=size, envelope=ENVELOPE, seconds=seconds)
        return result, got


async def test_spam():
    """The mail and its envelope reach rspamd; score, action and symbols come back, the heaviest first."""
    result, [(head, body)] = await scan(saying(json.dumps(ANSWER).encode()))
    assert body == b"".join(MAIL)
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /checkv2 HTTP/1.1"
    assert {"IP: 192.0.2.7", "Helo: mail.customer.example", "From: jane@customer.example"} <= set(lines)
    assert {"Rcpt: support@example.com", "Rcpt: sales@example.com", "Queue-Id: 0123456789ab"} <= set(lines)
    assert (result.word, result.action, result.score, result.required) == (
        ScanWord.SPAM,
        "reject",
        15.2,
        15.0,
    )
    assert [(each.name, each.score) for each in result.symbols] == [("GTUBE", 15.0), ("MX", -0.1)]


@pytest.mark.parametrize(
    ("results", "told"),
    [
        ({}, {}),
        (
            {"relay_spf": "pass", "relay_dkim": "fail", "relay_dmarc": "pass", "relay_arc": "none"},
            {"SPF": "pass", "DKIM": "fail", "DMARC": "pass", "ARC": "na"},
        ),
        ({"relay_spf": "softfail", "relay_dkim": "neutral"}, {"SPF": "softfail", "DKIM": "permfail"}),
        ({"relay_spf": "permerror", "relay_dkim": "policy"}, {"SPF": "permfail", "DKIM": "permfail"}),
        ({"relay_spf": "temperror", "relay_dkim": "temperror", "relay_dmarc": "temperror"}, {}),
        ({"relay_dmarc": "fail", "relay_dmarc_policy": "reject"}, {"DMARC": "reject"}),
        ({"relay_dmarc": "fail", "relay_dmarc_policy": "quarantine"}, {"DMARC": "quarantine"}),
        ({"relay_dmarc": "fail", "relay_dmarc_policy": "none"}, {"DMARC": "softfail"}),
        ({"relay_dmarc": "fail"}, {"DMARC": "softfail"}),
        ({"relay_spf": 'pass"\r\nIP: 192.0.2.1'}, {}),
    ],
)
def test_rspamd_is_told_our_results(results, told):
    """Each result goes out by a word of rspamd's module http_headers, and none that DNS kept back."""
    headers = dict(build_request_headers(replace(ENVELOPE, recipients=(), results=results)))
    for name in ("IP", "Helo", "From", "Queue-Id"):
        del headers[name]
    assert {name: json.loads(value) for name, value in headers.items()} == {
        name: {"result": word} for name, word in told.items()
    }


def test_symbols_without_weight():
    """Symbols that decide without a score are named where no other has one."""
    symbols = {"GTUBE": {"score": 0.0}, "ODD": {"score": "much"}}
    result = read_answer(json.dumps({"action": "reject", "symbols": symbols}).encode())
    assert [(each.name, each.score) for each in result.symbols] == [("GTUBE", 0.0)]


@pytest.mark.parametrize(
    ("action", "word"),
    [
        ("no action", ScanWord.CLEAN),
        ("greylist", ScanWord.CLEAN),
        ("soft reject", ScanWord.CLEAN),
        ("add header", ScanWord.SPAM),
        ("rewrite subject", ScanWord.SPAM),
        ("ACTION", ScanWord.UNAVAILABLE),
        (None, ScanWord.UNAVAILABLE),
        (["reject"], ScanWord.UNAVAILABLE),
    ],
)
def test_actions(action, word):
    """Each action of rspamd has its word; what is none is no verdict."""
    assert read_answer(json.dumps({"action": action}).encode()).word is word


@pytest.mark.parametrize(
    "answer",
    [
        saying(b"not JSON"),
        saying(b"[" * 100_000),
        saying(b'{"action": "reject"}', status="500 Sorry"),
        saying(b"", status="302 Found\r\nLocation: http://127.0.0.1:1/"),
        saying(b'{"action": "reject"', length=1_000),
        saying(b" " * (1 << 20) + b'{"action": "reject"}'),
    ],
)
async def test_answers_that_are_no_verdict(answer):
    """Garbage, errors, redirects, an answer cut short or over a megabyte: no verdict, never an error."""
    result, _ = await scan(answer)
    assert result.word is ScanWord.UNAVAILABLE


async def test_rspamd_that_hangs():
    """An rspamd that never answers, that drips or never ends costs its time and no more."""

    async def silent(writer):
        await asyncio.Event().wait()

    async def drip(writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    for answer in (silent, drip):
        result, _ = await asyncio.wait_for(scan(answer, seconds=0.3), 5)
        assert result.word is ScanWord.UNAVAILABLE
        assert result.reason == "rspamd did not answer within 0.3 s"


@pytest.mark.parametrize("piece", [b"[],", b"{},", b"1,", b"[[1],", b'{"a":{},', b'"\\u0041",', b"9"])
def test_answer_costs_milliseconds(piece):
    """Whatever an answer within a megabyte is made of, it is read or given up in a few milliseconds of
    processor time, because the loop waits for that.
    """
    for times in (3_000, 1_000_000 // len(piece)):
        octets = b'{"action": "reject", "symbols": [' + piece * times
        began = time.thread_time()
        assert read_answer(octets).word is ScanWord.UNAVAILABLE
        assert time.thread_time() - began < 0.05


async def test_endless_answer():
    """An answer without an end is read for a megabyte, and no longer."""

    async def endless(writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b" " * 65_536)
            await writer.drain()

    result, _ = await scan(endless, seconds=30)
    assert result.reason == "rspamd's answer is too long"


async def test_rspamd_that_is_away():
    """An rspamd that is not there is a value."""
    result = await scan_by_rspamd("http://127.0.0.1:1", stream(MAIL), size=22, envelope=ENVELOPE, seconds=5)
    assert result.word is ScanWord.UNAVAILABLE


@given(st.text(max_size=300), st.text(max_size=300), st.lists(st.text(max_size=20), max_size=3))
def test_any_envelope(helo, reverse_path, recipients):
    """No token of a peer ends a header."""
    envelope = Envelope(peer="::1", helo=helo, reverse_path=reverse_path, recipients=recipients)
    for _, value in build_request_headers(envelope):
        assert value.isascii()
        assert value.isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(JSON, JSON, JSON)
def test_any_answer(score, symbols, other):
    """No answer raises or breaks a line of ours, and each number that is told is finite."""
    if isinstance(symbols, dict):
        symbols = {name: {"score": score} for name in symbols}
    answer = {"action": "reject", "score": score, "required_score": other, "symbols": symbols}
    result = read_answer(json.dumps(answer).encode())
    assert result.score is None or abs(result.score) < 1_000_000
    assert all(value.isascii() and value.isprintable() for value in build_scan_attributes([result]).values())
    read_answer(json.dumps(other).encode())

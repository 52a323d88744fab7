"""The places where results of checks are shown, and what must be true of each of them.

A token of a peer is either plain (a name of DNS, an address) or quoted. `MARK` can be no plain token: where
it stands outside of quotes, somebody else's words pass for ours.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from datetime import UTC, datetime

from hypothesis import strategies as st

from relay import telemetry
from relay.auth.authres import parse_results
from relay.auth.stored import add_results
from relay.envelope import Envelope, ForwardPath, Peer
from relay.replies import QUEUED, fill
from relay.vocabulary import Disposition

#: Words that would be a result, a sentence and a field of ours.
MARK = "dmarc=pass evil"
_PIECES = [
    "\r\n", "\n", "\r", "\0", "\x1b[2J", "\x85", "\u2028", "\u202e", '"', "\\", ";", "=", " ", "\t", "(", ")", ",", "é",
    "\ud800", "a", ".", "@", "-", "bank.example", "x" * 300, MARK, f'"; {MARK}', f'\\"{MARK}', f"\r\nX-Forged: {MARK}",
]  # fmt: skip
#: Text that a peer, a signer, a server of DNS or a scanner may choose.
texts = st.lists(st.sampled_from(_PIECES), max_size=8).map("".join)
#: The same as octets.
octets = texts.map(lambda text: text.encode("utf-8", "surrogatepass"))
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
TRACE = b"Received: from c.example ([203.0.113.6])\r\n\tby mx.ours.example; x\r\n"
METHODS = {"spf", "dkim", "arc", "dmarc", "iprev", "dnsbl", "x-virus", "x-spam"}


def hold_attributes(attributes):
    """Fail unless each value is one line of printable ASCII, bounded, with every token of others quoted."""
    for name, value in attributes.items():
        assert value.isascii(), name
        assert value.isprintable(), name
        assert len(value) < 25_000, name
        bare = _QUOTED.sub("", value)
        assert '"' not in bare, (name, value)
        assert "\\" not in bare, (name, value)
        assert MARK not in bare, (name, value)


def hold_field(results, *, reverse_path=None, peer="203.0.113.6"):
    """Fail unless our Authentication-Results in front of the exported mail is one field that says these
    results and no others.
    """
    envelope = Envelope(
        reverse_path=reverse_path,
        forward_paths=(ForwardPath(address="support@example.com"),),
        peer=Peer(address=peer, port=25),
        received_at=datetime(2026, 11, 29, tzinfo=UTC),
    )
    copy = add_results(
        TRACE + b"Subject: x\r\n\r\n",
        results,
        hostname="mx.ours.example",
        envelope=envelope,
        trace_size=len(TRACE),
    )
    field = copy[: copy.index(TRACE)].decode("ascii")
    first, *others = field.removesuffix("\r\n").split("\r\n")
    assert first.startswith("Authentication-Results: mx.ours.example")
    assert all(line.startswith("\t") and line.strip() for line in others)
    assert all(len(line) <= 998 and line.replace("\t", " ").isprintable() for line in (first, *others))
    said = [(each.method, each.result) for each in parse_results(field.partition(":")[2].encode())]
    assert {method for method, _ in said} <= METHODS
    assert len(dict(said)) == len(said)
    words = {method.removeprefix("x-"): word for method, word in said}
    for method in ("spf", "dkim", "arc", "dmarc", "iprev", "dnsbl"):
        assert words.get(method) == results.get(f"relay_{method}")


@contextlib.contextmanager
def logged(form):
    """The log in a form, as a stream; afterwards it is as tests have it."""
    stream = io.StringIO()
    try:
        with contextlib.redirect_stderr(stream):
            telemetry.configure(form, "debug")
            yield stream
    finally:
        telemetry.configure("json", "info")


def hold_log(results, *, helo="c.example", reverse_path="a@b.example"):
    """Fail unless each fact is one line of the log, in either form, that a terminal takes for text alone."""
    for form in ("json", "console"):
        with logged(form) as stream:
            telemetry.identity_checked(results=results)
            telemetry.transaction_ended(
                disposition=Disposition.ACCEPT,
                reply=fill(QUEUED, spool_id="0EXP1A1N00000000"),
                spool_id="0EXP1A1N00000000",
                message_id="<x@y>",
                reverse_path=reverse_path,
                destinations=["support@example.com"],
                peer="203.0.113.6",
                helo=helo,
                protocol="ESMTP",
                tls=None,
                size=1,
                seconds=0.1,
                results=results,
            )
        lines = stream.getvalue().split("\n")
        assert len(lines) == 3, lines
        assert all(line.isprintable() for line in lines)
        if form == "json":
            assert [json.loads(line)["event"] for line in lines[:2]] == [
                "identity.checked",
                "transaction.accepted",
            ]


def hold(results, **session):
    """Fail unless all places show these results as they must."""
    hold_attributes(results)
    hold_field(results, reverse_path=session.get("reverse_path"))
    hold_log(results, **session)

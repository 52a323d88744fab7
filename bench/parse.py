"""How fast, in the processor's time, and in how much memory, a mail is understood and made to fit: ours
against the standard library, in one run.

    python -m bench.parse [--rounds 7] [--check]

Ours is all that the deliverer computes between the spool and the network: the message with every leaf
decoded and hashed, the plan with its classification, the request, and the check of the request against the
service model. Rounds are interleaved; times are medians of them. --check fails where a ratio is under its
target.
"""

from __future__ import annotations

import argparse
import base64
import email
import email.policy
import gc
import random
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime

from relay.aws.request_limits import check_request
from relay.cli.progress import tracked
from relay.config.builtin import builtin_config
from relay.contact.fit import fit
from relay.contact.plan import Context
from relay.contact.request import build_earlier_token, build_request
from relay.envelope import Destination, Envelope, ForwardPath, Peer, SpoolId
from relay.message.parse import parse_message
from relay.routes import RouteTable

#: Name -> (ratio of time at least, ratio of peak memory at least), from the product's own promise.
TARGETS = {
    "2 KB text": (1.0, 0.0),
    "30 KB alternative": (1.5, 0.0),
    "30 KB newsletter": (0.0, 0.0),
    "1 MB with a PDF": (3.0, 0.0),
    "25 MB": (5.0, 5.0),
}

HEADER = (
    b"Received: from out.example.net (out.example.net [192.0.2.1]) by mx1.example.com (Relay) with ESMTPS id 4XyZ;\r\n"
    b"\tMon, 6 Jan 2025 10:00:00 +0000 (UTC)\r\n"
    b"Received: from app (unknown [198.51.100.7]) by out.example.net with ESMTPSA id 77; Mon, 6 Jan 2025 09:59:58 +0000\r\n"
    b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=s1; h=from:to:subject;\r\n"
    b"\tbh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=" + b"Zm9v" * 40 + b"\r\n"
    b"From: =?utf-8?q?J=C3=B6rg_M=C3=BCller?= <joerg@example.net>\r\n"
    b'To: Support <support@example.com>, "Sales, EMEA" <sales@example.com>\r\n'
    b"Cc: ann@example.org\r\nSubject: =?utf-8?b?UmVjaG51bmcgZsO8ciBJaHJlIEJlc3RlbGx1bmc=?= 4711\r\n"
    b"Date: Mon, 6 Jan 2025 10:59:57 +0100\r\nMessage-ID: <20250106.4711@example.net>\r\n"
    b"In-Reply-To: <a@example.com>\r\nReferences: <z@example.com> <a@example.com>\r\nMIME-Version: 1.0\r\n"
)


def _base64(size: int, seed: int) -> bytes:
    octets = random.Random(seed).randbytes(size)
    return base64.encodebytes(octets).replace(b"\n", b"\r\n")


def _text(size: int) -> bytes:
    line = b"We ordered on the third and still wait; please tell us where the parcel is.\r\n"
    return line * (size // len(line))


def _multipart(kind: bytes, *parts: bytes) -> bytes:
    head = b"Content-Type: multipart/" + kind + b'; boundary="b' + kind + b'"\r\n\r\n'
    return (
        head
        + b"".join(b"--b" + kind + b"\r\n" + part + b"\r\n" for part in parts)
        + b"--b"
        + kind
        + b"--\r\n"
    )


def leaf(kind: bytes, encoding: bytes, octets: bytes, *more: bytes) -> bytes:
    head = b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: " + encoding + b"\r\n"
    return head + b"".join(line + b"\r\n" for line in more) + b"\r\n" + octets


def _newsletter(rows: int) -> bytes:
    """A page as programs for newsletters write it: a style sheet, a hidden line, a style in each tag."""
    row = (
        b'<tr><td class="row" align="left" style="padding:10px 0;font-family:Arial,sans-serif;font-size:14px;color:#333333">'
        b'<a href="https://news.example.net/c?id=%d" style="color:#0066cc;text-decoration:none">Offer %d of the week</a>'
        b'<br><span style="font-size:12px">Only f\xc3\xbcr you &amp; yours, until Sunday.</span></td></tr>\r\n'
    )
    return (
        b'<html><head><style type="text/css">.row { line-height: 20px } a { color: #06c }\r\n'
        b'@media only screen { .row { padding: 0 } }</style></head><body bgcolor="#ffffff">'
        b'<div style="display:none;max-height:0">The best of this week</div><table width="600" border="0">\r\n'
        + b"".join(row % (number, number) for number in range(rows))
        + b"</table></body></html>\r\n"
    )


def samples() -> dict[str, bytes]:
    """The mails of the promise and a newsletter, the same at each run."""
    plain = leaf(b"text/plain; charset=utf-8", b"8bit", _text(800))
    html = leaf(
        b"text/html; charset=utf-8",
        b"quoted-printable",
        b"<html><body>" + _text(25_000).replace(b"parcel", b"p=C3=A4rcel<br>") + b"</body></html>\r\n",
    )
    alternative = _multipart(b"alternative", leaf(b"text/plain; charset=utf-8", b"8bit", _text(3_000)), html)
    named = b'Content-Disposition: attachment; filename="invoice.pdf"'
    pdf = leaf(b"application/pdf; name=invoice.pdf", b"base64", _base64(740_000, 1), named)
    big = leaf(b"application/octet-stream", b"base64", _base64(18_400_000, 2), named)
    return {
        "2 KB text": HEADER + plain,
        "30 KB alternative": HEADER + alternative,
        "30 KB newsletter": HEADER
        + _multipart(
            b"alternative",
            leaf(b"text/plain; charset=utf-8", b"8bit", _text(3_000)),
            leaf(b"text/html; charset=utf-8", b"8bit", _newsletter(75)),
        ),
        "1 MB with a PDF": HEADER + _multipart(b"mixed", alternative, pdf),
        "25 MB": HEADER + _multipart(b"mixed", plain, big),
    }


def with_stdlib(raw: bytes) -> None:
    """The standard library's best policy, and every leaf decoded, as anybody would who stores them."""
    message = email.message_from_bytes(raw, policy=email.policy.default)
    for name in ("from", "to", "cc", "subject", "date", "message-id"):
        str(message[name])
    for part in message.walk():
        if not part.is_multipart():
            octets = part.get_payload(decode=True)
            if part.get_content_maintype() == "text":
                part.get_content()
            del octets


class Ours:
    """The steps of the deliverer, with a configuration that is read once."""

    def __init__(self) -> None:
        self._config = builtin_config()
        self._routes = RouteTable(self._config)
        self._route = self._config.routes[0]
        path = "support@example.com"
        self._context = Context(
            spool_id=SpoolId("0BENCH0000000000"),
            envelope=Envelope(
                reverse_path="joerg@example.net",
                forward_paths=(ForwardPath(address=path),),
                peer=Peer(address="192.0.2.1", port=25),
                received_at=datetime(2025, 1, 6, 10, tzinfo=UTC),
            ),
            destination=Destination(
                instance_id=self._config.connect.instance_id,
                address=path,
                forward_paths=(path,),
                route=self._route.name,
            ),
            results={"relay_spf": "pass", "relay_dkim": "pass", "relay_dmarc": "pass"},
            raw_size=0,
            is_ours=self._routes.is_ours,
        )

    def parse(self, raw: bytes) -> None:
        """Parsed, every leaf decoded and hashed on the way."""
        parse_message(raw)

    def whole(self, raw: bytes) -> None:
        """Parsed, classified, fitted, the request built and checked."""
        plan = fit(parse_message(raw), self._context, self._route, self._config)
        urls = ["https://bucket.s3.eu-central-1.amazonaws.com/".ljust(1_500, "0")] * len(plan.files)
        token = build_earlier_token(
            instance_id=plan.instance_id,
            destination=plan.destination,
            fingerprint="0" * 64,
            salt="",
            rung=plan.rung,
        )
        request = build_request(plan, urls, client_token=token)
        problems = check_request(request, max_attachments=self._config.connect.max_attachments)
        if problems:
            raise SystemExit("; ".join(problems))


def rounds_of(works: dict[str, Callable[[bytes], None]], raw: bytes, count: int) -> dict[str, list[float]]:
    """Seconds for each work in each round; short ones are repeated within a round."""
    repeats = max(1, 200_000 // len(raw))
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(count):
        for name, work in works.items():
            gc.collect()
            begun = time.thread_time()
            for _ in range(repeats):
                work(raw)
            found[name].append((time.thread_time() - begun) / repeats)
    return found


def peak(work: Callable[[bytes], None], raw: bytes) -> int:
    """Octets of Python memory at the highest point, the mail itself not counted."""
    gc.collect()
    tracemalloc.start()
    work(raw)
    _, highest = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return highest


def main() -> int:
    """Print the table; with --check, 1 when a target is missed."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=7, help="measurements of each, interleaved")
    arguments.add_argument("--check", action="store_true", help="exit 1 where a ratio is under its target")
    chosen = arguments.parse_args()
    ours = Ours()
    ours.whole(samples()["2 KB text"])  # the service model is read once a process
    works = {"stdlib": with_stdlib, "parse": ours.parse, "whole": ours.whole}
    head = (
        "mail",
        "stdlib",
        "parse",
        "parse + fit",
        "faster",
        "worst",
        "target",
        "peak stdlib",
        "peak ours",
        "less",
        "target",
    )
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head), flush=True)
    missed = False
    for name, raw in tracked("bench.parse", list(samples().items())):
        found = rounds_of(works, raw, chosen.rounds)
        middle = {work: statistics.median(times) for work, times in found.items()}
        faster = middle["stdlib"] / middle["whole"]
        worst = min(theirs / mine for theirs, mine in zip(found["stdlib"], found["whole"], strict=True))
        their_peak, our_peak = peak(with_stdlib, raw), peak(ours.whole, raw)
        less = their_peak / our_peak
        wanted = TARGETS[name]
        missed |= faster < wanted[0] or less < wanted[1]
        cells = [
            name,
            *(f"{seconds * 1e3:.2f} ms" for seconds in middle.values()),
            *(f"{ratio:.1f}x" for ratio in (faster, worst)),
            f"{wanted[0]:.1f}x" if wanted[0] else "",
            *(f"{octets / 1e6:.2f} MB" for octets in (their_peak, our_peak)),
            f"{less:.1f}x",
            f"{wanted[1]:.1f}x" if wanted[1] else "",
        ]
        print("| " + " | ".join(cells) + " |", flush=True)
    return 1 if chosen.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""How fast, and in how much memory, a mail is understood: ours against the standard library, in one run.

`python -m bench.parse` prints a table; `--check` fails where a ratio is under its target.
"""

from __future__ import annotations

import argparse
import base64
import email
import email.policy
import gc
import hashlib
import random
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable

from relay.message.parse import parse_message

#: Name -> (ratio of time at least, ratio of peak memory at least), from the product's own promise.
TARGETS = {
    "2 KB text": (1.0, 0.0),
    "30 KB alternative": (1.5, 0.0),
    "1 MB with a PDF": (3.0, 0.0),
    "25 MB": (5.0, 5.0),
}

_HEADER = (
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


def _leaf(kind: bytes, encoding: bytes, octets: bytes, *more: bytes) -> bytes:
    head = b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: " + encoding + b"\r\n"
    return head + b"".join(line + b"\r\n" for line in more) + b"\r\n" + octets


def samples() -> dict[str, bytes]:
    """The four mails of the promise, the same at each run."""
    plain = _leaf(b"text/plain; charset=utf-8", b"8bit", _text(800))
    html = _leaf(
        b"text/html; charset=utf-8",
        b"quoted-printable",
        b"<html><body>" + _text(25_000).replace(b"parcel", b"p=C3=A4rcel<br>") + b"</body></html>\r\n",
    )
    alternative = _multipart(b"alternative", _leaf(b"text/plain; charset=utf-8", b"8bit", _text(3_000)), html)
    named = b'Content-Disposition: attachment; filename="invoice.pdf"'
    pdf = _leaf(b"application/pdf; name=invoice.pdf", b"base64", _base64(740_000, 1), named)
    big = _leaf(b"application/octet-stream", b"base64", _base64(18_400_000, 2), named)
    return {
        "2 KB text": _HEADER + plain,
        "30 KB alternative": _HEADER + alternative,
        "1 MB with a PDF": _HEADER + _multipart(b"mixed", alternative, pdf),
        "25 MB": _HEADER + _multipart(b"mixed", plain, big),
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


def with_stdlib_hashed(raw: bytes) -> None:
    """The same with the hash that ours always gives."""
    message = email.message_from_bytes(raw, policy=email.policy.default)
    for part in message.walk():
        if not part.is_multipart():
            hashlib.sha256(part.get_payload(decode=True)).hexdigest()


def with_ours(raw: bytes) -> None:
    """Parsed, every leaf decoded and hashed on the way."""
    parse_message(raw)


def seconds(work: Callable[[bytes], None], raw: bytes) -> float:
    """The median of several runs; short ones are repeated within a run."""
    repeats = max(1, 200_000 // len(raw))
    rounds: list[float] = []
    for _ in range(5):
        gc.collect()
        begun = time.perf_counter()
        for _ in range(repeats):
            work(raw)
        rounds.append((time.perf_counter() - begun) / repeats)
    return statistics.median(rounds)


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
    arguments.add_argument("--check", action="store_true", help="exit 1 where a ratio is under its target")
    check = arguments.parse_args().check
    missed = False
    print(
        f"{'':20}{'stdlib':>12}{'+ sha256':>12}{'ours':>12}{'faster':>9}{'peak stdlib':>14}{'peak ours':>12}{'less':>8}"
    )
    for name, raw in samples().items():
        theirs, hashed, ours = (seconds(work, raw) for work in (with_stdlib, with_stdlib_hashed, with_ours))
        their_peak, our_peak = peak(with_stdlib, raw), peak(with_ours, raw)
        faster, less = theirs / ours, their_peak / our_peak
        missed |= faster < TARGETS[name][0] or less < TARGETS[name][1]
        print(
            f"{name:20}{theirs * 1e3:9.2f} ms{hashed * 1e3:9.2f} ms{ours * 1e3:9.2f} ms{faster:8.1f}x"
            f"{their_peak / 1e6:11.2f} MB{our_peak / 1e6:9.2f} MB{less:7.1f}x"
        )
    return 1 if check and missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""The spam scanner rspamd, asked by HTTP at `/checkv2`.

Owns the headers of the request and the reading of the answer. Never raises for what rspamd does, never waits
longer than it is told, never follows a redirect. Follows rspamd's protocol documentation ("Rspamd HTTP
request", "Rspamd HTTP reply") and its module http_headers, which takes results of checks from the request.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import AsyncIterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from relay.auth.words import Result
from relay.scan.model import ScannerKind, ScanResult, ScanWord, Symbol

#: Octets of an answer that are read.
_ANSWER_BYTES = 1 << 20
#: Commas and brackets of an answer that is parsed, while the loop waits (measured on a busy machine: 200 ms
#: for a megabyte of numbers, 1 ms for one of text). An rspamd names some hundred symbols, with ten each.
_MOST_VALUES = 10_000
_MOST_SYMBOLS = 20
_TOKEN_CHARACTERS = 255
#: Recipients that are told: each is a header, and servers bound those.
_MOST_RECIPIENTS = 100
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
#: The actions by which rspamd takes a mail for spam; "greylist" and "soft reject" say that it is not sure.
_SPAM_ACTIONS = frozenset({"reject", "add header", "rewrite subject", "quarantine", "discard"})
#: The words of our checks as rspamd's module `http_headers` reads them: no header for a check that DNS kept
#: from a result, so that a rspamd with a DNS of its own may find it.
_TOLD = {
    Result.PASS: "pass",
    Result.FAIL: "fail",
    Result.SOFTFAIL: "softfail",
    Result.NEUTRAL: "neutral",
    Result.NONE: "na",
    Result.PERMERROR: "permfail",
}
#: Words that the module knows for one method only.
_TOLD_OTHERWISE = {
    ("dkim", Result.NEUTRAL): "permfail",
    ("dkim", Result.POLICY): "permfail",
}
#: A failure of DMARC by the policy to be applied.
_TOLD_POLICIES = {"reject": "reject", "quarantine": "quarantine"}
_KNOWN_ACTIONS = _SPAM_ACTIONS | {"no action", "greylist", "soft reject"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The facts of a transaction that rspamd is told."""

    peer: str
    helo: str = ""
    #: "" is the null reverse-path.
    reverse_path: str = ""
    recipients: Sequence[str] = ()
    queue_id: str = ""
    user: str = ""
    #: The results of the checks of its origin, by the names of a contact's attributes; empty where they are
    #: not known.
    results: Mapping[str, str] = field(default_factory=dict)


async def scan_by_rspamd(
    url: str, chunks: AsyncIterable[bytes], *, size: int, envelope: Envelope, seconds: float
) -> ScanResult:
    """The verdict of the rspamd at `url` on a mail of `size` octets."""
    timeout = aiohttp.ClientTimeout(total=seconds)
    headers = [*build_request_headers(envelope), ("Content-Length", str(size))]
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            session.post(
                f"{url.rstrip('/')}/checkv2", data=chunks, headers=headers, allow_redirects=False
            ) as answer,
        ):
            if answer.status != 200:
                return _unavailable("rspamd gave an error")
            return read_answer(await _read(answer))
    except TimeoutError:
        return _unavailable(f"rspamd did not answer within {seconds:.3g} s", answered=False)
    except (aiohttp.ClientError, OSError, ValueError):
        return _unavailable("rspamd cannot be reached", answered=False)


def build_request_headers(envelope: Envelope) -> Iterator[tuple[str, str]]:
    """The headers that tell rspamd of the transaction; no token of a peer can end one."""
    facts = [("IP", envelope.peer), ("Helo", envelope.helo), ("From", envelope.reverse_path)]
    facts += [("Rcpt", each) for each in envelope.recipients[:_MOST_RECIPIENTS]]
    facts += [("Queue-Id", envelope.queue_id), ("User", envelope.user)]
    for name, value in facts:
        if value:
            yield name, _UNPRINTABLE.sub("?", value[:_TOKEN_CHARACTERS])
    for method in ("spf", "dkim", "dmarc", "arc"):
        if word := _tell_result(method, envelope.results):
            yield method.upper(), json.dumps({"result": word})


def _tell_result(method: str, results: Mapping[str, str]) -> str:
    """The word of a check in rspamd's vocabulary; "" for none."""
    word = results.get(f"relay_{method}", "")
    if word not in set(Result):
        return ""
    if method == "dmarc" and word == Result.FAIL:
        return _TOLD_POLICIES.get(results.get("relay_dmarc_policy", ""), "softfail")
    result = Result(word)
    return _TOLD_OTHERWISE.get((method, result)) or _TOLD.get(result, "")


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The answer, and at most one octet more than is read of one."""
    pieces, room = [], _ANSWER_BYTES + 1
    while room > 0 and (piece := await answer.content.read(min(room, 65_536))):
        pieces.append(piece)
        room -= len(piece)
    return b"".join(pieces)


def read_answer(octets: bytes) -> ScanResult:
    """The result that an answer means; what is no answer of rspamd is `unavailable`."""
    if len(octets) > _ANSWER_BYTES:
        return _unavailable("rspamd's answer is too long")
    if sum(map(octets.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        return _unavailable("rspamd's answer says too much")
    try:
        answer = json.loads(octets)
    except (ValueError, RecursionError):
        return _unavailable("rspamd's answer cannot be read")
    action = answer.get("action") if isinstance(answer, dict) else None
    if action not in tuple(_KNOWN_ACTIONS):
        return _unavailable("rspamd gave no verdict")
    is_spam = action in _SPAM_ACTIONS
    return ScanResult(
        kind=ScannerKind.SPAM,
        word=ScanWord.SPAM if is_spam else ScanWord.CLEAN,
        reason="taken for spam" if is_spam else "not taken for spam",
        score=_number(answer.get("score")),
        required=_number(answer.get("required_score")),
        action=action,
        symbols=_read_symbols(answer.get("symbols")),
    )


def _read_symbols(symbols: Any) -> tuple[Symbol, ...]:
    if not isinstance(symbols, dict):
        return ()
    found = []
    for name, facts in symbols.items():
        score = _number(facts.get("score")) if isinstance(facts, dict) else None
        if score is not None:
            found.append(Symbol(name=name[:_TOKEN_CHARACTERS], score=score))
    # Most symbols without weight are remarks; GTUBE and its like decide alone, and have none either.
    found = [each for each in found if each.score] or found
    found.sort(key=lambda each: (-abs(each.score), each.name))
    return tuple(found[:_MOST_SYMBOLS])


def _number(value: Any) -> float | None:
    """A finite number below a million either way. Returns None for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1_000_000 and math.isfinite(value) else None


async def ping_rspamd(url: str, *, seconds: float) -> bool:
    """Returns whether the rspamd at this URL answers `/ping`."""
    timeout = aiohttp.ClientTimeout(total=seconds)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            session.get(f"{url.rstrip('/')}/ping", allow_redirects=False) as answer,
        ):
            return answer.status == 200 and (await answer.content.read(64)).strip() == b"pong"
    except (aiohttp.ClientError, OSError, ValueError):
        return False


def _unavailable(reason: str, *, answered: bool = True) -> ScanResult:
    return ScanResult(kind=ScannerKind.SPAM, word=ScanWord.UNAVAILABLE, reason=reason, answered=answered)

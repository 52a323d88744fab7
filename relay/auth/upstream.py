"""The word of the gateway in front: what it found about a mail before it passed the mail on to us.

Owns who is believed: a field counts only above the lowest Received field that our own systems wrote
(`relay.auth.hops` gives that part of the header), because all below may be a stranger's. Where the operator
says that the gateway takes such fields out of all mail that it accepts, those below count, too, each if it
stands there once. Owns, too, what the word of the gateway changes: a failure of DMARC that it did not see is
lifted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from relay.auth.authres import MethodResult
from relay.auth.dmarc import DmarcResult
from relay.auth.dmarc_record import Policy
from relay.auth.gateways import PRESETS, Said
from relay.auth.words import Result

_METHODS: Final = ("spf", "dkim", "dmarc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """The word of the gateway in front on one mail."""

    #: The name of the preset.
    gateway: str
    #: Returns None where the gateway said nothing of it.
    spam: bool | None = None
    phish: bool | None = None
    #: The number by which it judged; "" for none.
    score: str = ""
    #: The result of spf, dkim and dmarc, each by its name, as far as the gateway said one.
    words: Mapping[str, Result]
    #: The author's domain that its dmarc is about, in lower case; "" where it did not say.
    author: str = ""

    @property
    def word(self) -> str:
        """The verdict in one word: "phish", "spam", "clean", or "none" where the gateway said nothing."""
        if self.phish or self.spam:
            return "phish" if self.phish else "spam"
        return "none" if self.spam is None and self.phish is None else "clean"


def read_upstream(gateway: str, above: bytes, *, below: bytes = b"", by: str = "") -> Upstream:
    """The word of a gateway, from the part of the header above the lowest Received field of ours.

    `below` is the rest, where the gateway takes fields of that kind out of strangers' mail; `by` is the name
    that it gives itself in its Received field.
    """
    preset = PRESETS[gateway]
    servers = {by, preset.server} - {""} if preset.writes_results else frozenset[str]()
    said = Said(above, below=below, servers=servers)
    verdict = preset.read(said)
    results = said.read_results()
    words = {method: word for method in _METHODS if (word := _choose(method, results)) is not None}
    author = next((each.properties.get("header.from", "") for each in results if each.method == "dmarc"), "")
    return Upstream(
        gateway=gateway,
        spam=verdict.spam,
        phish=verdict.phish,
        score=verdict.score,
        words={**(verdict.words or {}), **words},
        author=author.lower().rstrip("."),
    )


def lift_by_upstream(verdict: DmarcResult, said: Upstream) -> DmarcResult:
    """The verdict of DMARC after the gateway was heard.

    A gateway may change a mail after it judged it (a banner, links that lead through it), which breaks its
    signatures. Where DMARC passed there for the same author, a failure here is lifted: the result stays, the
    policy becomes "none".
    """
    if verdict.result not in {Result.FAIL, Result.TEMPERROR} or not verdict.domain:
        return verdict
    if said.words.get("dmarc") is not Result.PASS or said.author != verdict.domain:
        return verdict
    policy = None if verdict.policy is None else Policy.NONE
    reason = f"{verdict.reason}; but it passed at our gateway in front"
    return replace(verdict, policy=policy, lifted_by_gateway=True, reason=reason)


def describe_upstream(said: Upstream) -> str:
    """The word of the gateway as a sentence of ours."""
    found = {"none": "nothing of spam"}.get(said.word, said.word) + (f" ({said.score})" if said.score else "")
    words = "".join(f", {method}={said.words[method]}" for method in _METHODS if method in said.words)
    return f"the gateway in front ({said.gateway}) says: {found}{words}"


def _choose(method: str, results: tuple[MethodResult, ...]) -> Result | None:
    """The result of a method: the first, or of several signatures one that passed.

    Returns None where there is none that RFC 8601 knows.
    """
    found = [Result(each.result) for each in results if each.method == method and each.result in set(Result)]
    if method == "dkim" and Result.PASS in found:
        return Result.PASS
    return found[0] if found else None

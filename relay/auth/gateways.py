"""The gateways whose header fields are known: which of them say spam, phish, spf, dkim and dmarc.

Owns the presets, each as its makers had documented it at the date beside it. Gives closed words and numbers,
never a text. Never decides what is believed: `relay.auth.upstream` gives only fields that our own systems
wrote. Linear in the octets, and bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from relay.auth.authres import MethodResult, parse_results, read_authserv_id
from relay.auth.fields import Field, FieldFinder
from relay.auth.words import Result

#: Octets above our Received field that are read, and of one field. A gateway writes some kilobytes.
_MOST_BYTES = 65_536
_MOST_FIELD_BYTES = 8_192
_MOST_FIELDS = 8  # Authentication-Results: one for each filter of a gateway
_MOST_NAME_BYTES = 512
_MOST_LOOKS = 64  # below: those of each server that a mail came through
#: Exchange Online writes its results into the second of them, too, or instead.
_RESULT_FIELDS = (b"authentication-results", b"x-ms-exchange-authentication-results")
_FOLDS = re.compile(r"\s++")
_NUMBER = re.compile(r"-?[0-9]{1,6}(?:\.[0-9]{1,4})?")


class Said:
    """The fields that our own systems wrote: those above the lowest Received field of theirs, and, where the
    operator says that they take such fields out of strangers' mail, those below it that stand there once.
    """

    def __init__(self, above: bytes, *, below: bytes = b"", servers: Collection[str] = ()) -> None:
        """The fields of a mail; `servers` are the names, in lower case, by which Authentication-Results below
        are told from those of others.
        """
        self._finder = FieldFinder(above[:_MOST_BYTES])
        self._below = FieldFinder(below)
        self._servers = servers

    def read(self, name: str) -> str | None:
        """The value of the first field of a name above, or of the only one below, on one line. Returns None
        where there is none.
        """
        wanted = name.lower().encode()
        field = next(self._finder.find(wanted, looks=_MOST_FIELDS), None)
        if field is None:
            others = list(islice(self._below.find(wanted, looks=_MOST_FIELDS), 2))
            # Of two the gateway has written one at most: it does not take them out.
            field = others[0] if len(others) == 1 else None
        if field is None:
            return None
        return _FOLDS.sub(" ", field.value[:_MOST_FIELD_BYTES].decode("latin-1")).strip()

    def read_results(self) -> tuple[MethodResult, ...]:
        """The results of all fields that hold some: those above from the top, then those of the last ARC set
        above, then those below by a server of ours.
        """
        fields = [each.value for name in _RESULT_FIELDS for each in self._find(name)]
        fields += [each.value for each in self._find(b"arc-authentication-results")][:1]
        others = islice(self._below.find(b"authentication-results", looks=_MOST_LOOKS), _MOST_LOOKS)
        own = [each.value for each in others if _names_server(each.value, self._servers)]
        fields += own if len(own) == 1 else []
        return tuple(result for value in fields for result in parse_results(value))

    def _find(self, name: bytes) -> Iterator[Field]:
        return islice(self._finder.find(name, looks=_MOST_FIELDS), _MOST_FIELDS)


def _names_server(value: bytes, servers: Collection[str]) -> bool:
    """Returns whether Authentication-Results are in the name of one of these servers, which stands at their
    beginning.
    """
    start = value[:_MOST_NAME_BYTES]
    text = start.decode("latin-1").lower()
    return any(each in text for each in servers) and read_authserv_id(start).lower().rstrip(".") in servers


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentVerdict:
    """The verdict on a mail's content, as far as the fields of one product have it."""

    spam: bool | None = None
    phish: bool | None = None
    score: str = ""
    #: Results that stand elsewhere than in Authentication-Results.
    words: Mapping[str, Result] | None = None


_NOTHING: Final = ContentVerdict()
_SPAM_FILTERED: Final = frozenset({"SPM", "SKS", "SKB"})
_SPAM_CATEGORIES: Final = frozenset({"SPM", "HSPM", "OSPM"})
_PHISH_CATEGORIES: Final = frozenset({
    "PHSH", "PHISH", "HPHSH", "HPHISH", "SPOOF", "DIMP", "UIMP", "GIMP", "BIMP", "INTOS",
})  # fmt: skip
_SCL_SPAM = 5  # spam confidence level: 5 and 6 are spam, 9 is spam for certain


def _read_microsoft(said: Said) -> ContentVerdict:
    report = said.read("X-Forefront-Antispam-Report")
    level = said.read("X-MS-Exchange-Organization-SCL")
    if report is None and level is None:
        return _NOTHING
    pairs = (part.partition(":") for part in (report or "").split(";"))
    values = {name.strip().upper(): value.strip().upper() for name, _, value in pairs}
    categories = {each.strip() for each in values.get("CAT", "").split(",")}
    score = _find_number(values.get("SCL") or level or "")
    phish = bool(categories & _PHISH_CATEGORIES)
    spam = values.get("SFV") in _SPAM_FILTERED or bool(categories & _SPAM_CATEGORIES)
    return ContentVerdict(spam=spam or _is_at_least(score, _SCL_SPAM), phish=phish, score=score)


def _read_google(said: Said) -> ContentVerdict:
    spam, phish = said.read("X-Gm-Spam"), said.read("X-Gm-Phishy")
    return ContentVerdict(
        spam=None if spam is None else spam == "1", phish=None if phish is None else phish == "1"
    )


_RULE = re.compile(r"(?:^|[\s;])rule=([a-z0-9_.-]{1,100})", re.IGNORECASE)
_SCORE = re.compile(r"(?:^|[\s;,])score=(-?[0-9.]{1,12})", re.IGNORECASE)


def _read_proofpoint(said: Said) -> ContentVerdict:
    details = said.read("X-Proofpoint-Spam-Details")
    rule = None if details is None else _RULE.search(details)
    if details is None or rule is None:
        return _NOTHING
    name = rule[1].lower()
    phish = "phish" in name or "impostor" in name
    spam = "spam" in name and "notspam" not in name and "not_spam" not in name
    return ContentVerdict(spam=spam, phish=phish, score=_find_score(details))


_MIMECAST_SPAM = 5  # "moderate", the middle one of Mimecast's three levels of spam scanning
_IMPERSONATION_HITS = 2  # one alone, such as a new domain, is common in honest mail


def _read_mimecast(said: Said) -> ContentVerdict:
    score = _find_number(said.read("X-Mimecast-Spam-Score") or "")
    signature = (said.read("X-Mimecast-Spam-Signature") or "").lower() == "yes"
    impersonation = said.read("X-Mimecast-Impersonation-Protect")
    hits = (impersonation or "").lower().replace(" ", "").count("=true")
    return ContentVerdict(
        spam=_is_at_least(score, _MIMECAST_SPAM) or signature if score or signature else None,
        phish=None if impersonation is None else hits >= _IMPERSONATION_HITS,
        score=score,
    )


_SPAMD_RESULT = re.compile(r"[^:]{0,100}: (True|False)(?: \(\w{0,40}\))? \[(-?[0-9.]{1,12})", re.IGNORECASE)
_PHISH_SYMBOL = re.compile(r"(?<![A-Z0-9_])(?:PHISHING|PHISHED_[A-Z0-9_]{1,60}|[A-Z0-9]{1,40}_PHISH)\(")
_SPAM_ACTIONS: Final = frozenset({"add header", "rewrite subject", "quarantine", "reject", "soft reject"})


def _read_rspamd(said: Said) -> ContentVerdict:
    result, action = said.read("X-Spamd-Result"), said.read("X-Rspamd-Action")
    flag = said.read("X-Spam") or said.read("X-Spam-Flag")
    if result is None and action is None and flag is None:
        return _NOTHING
    match = _SPAMD_RESULT.match(result or "")
    spam = (action or "").lower() in _SPAM_ACTIONS or (flag or "").lower().startswith("yes")
    return ContentVerdict(
        spam=spam or (match is not None and match[1].lower() == "true"),
        phish=None if result is None else _PHISH_SYMBOL.search(result) is not None,
        score=_find_number(match[2]) if match is not None else "",
    )


_TESTS = re.compile(r"(?:^|[\s,])tests=([A-Za-z0-9_.,\s-]{1,8000})")
_TEST = re.compile(r"[A-Z0-9_]{1,80}")
#: The tests of SpamAssassin that are results of RFC 8601; of one method, the first that was met.
_ASSASSIN_WORDS: Final = (
    ("spf", "SPF_PASS", Result.PASS),
    ("spf", "SPF_FAIL", Result.FAIL),
    ("spf", "SPF_SOFTFAIL", Result.SOFTFAIL),
    ("spf", "SPF_NEUTRAL", Result.NEUTRAL),
    ("spf", "SPF_NONE", Result.NONE),
    ("dkim", "DKIM_VALID", Result.PASS),
    ("dkim", "DKIM_INVALID", Result.FAIL),
    ("dmarc", "DMARC_PASS", Result.PASS),
    ("dmarc", "DMARC_REJECT", Result.FAIL),
    ("dmarc", "DMARC_QUAR", Result.FAIL),
    ("dmarc", "DMARC_NONE", Result.FAIL),
    ("dmarc", "DMARC_MISSING", Result.NONE),
)


def _read_spamassassin(said: Said) -> ContentVerdict:
    status, flag = said.read("X-Spam-Status"), said.read("X-Spam-Flag")
    if status is None and flag is None:
        return _NOTHING
    listed = _TESTS.search(status or "")
    met = frozenset(_TEST.findall(listed[1])) if listed is not None else frozenset()
    words: dict[str, Result] = {}
    for method, test, result in _ASSASSIN_WORDS:
        if test in met:
            words.setdefault(method, result)
    spam = (status or "").lower().startswith("yes") or (flag or "").lower() == "yes"
    phish = any("PHISH" in test for test in met) if listed is not None else None
    return ContentVerdict(spam=spam, phish=phish, score=_find_score(status or ""), words=words)


def _read_nothing(_said: Said) -> ContentVerdict:
    return _NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """The fields of one kind of gateway, as its makers had documented them at a date."""

    #: Year and month.
    as_of: str
    read: Callable[[Said], ContentVerdict]
    #: The name in its Authentication-Results, where that is another than the one in its Received fields.
    server: str = ""
    #: The gateway writes Authentication-Results of every mail, and so takes out those in its name (RFC 8601
    #: §5).
    writes_results: bool = True


PRESETS: Final[Mapping[str, Preset]] = {
    "microsoft365": Preset(as_of="2026-11", read=_read_microsoft),
    "google": Preset(as_of="2026-11", read=_read_google),
    "proofpoint": Preset(as_of="2026-11", read=_read_proofpoint, server="ppops.net"),
    "mimecast": Preset(as_of="2026-11", read=_read_mimecast),
    "rspamd": Preset(as_of="2026-11", read=_read_rspamd, writes_results=False),
    "spamassassin": Preset(as_of="2026-11", read=_read_spamassassin, writes_results=False),
    "authentication-results": Preset(as_of="2026-11", read=_read_nothing),
}


def _find_number(text: str) -> str:
    match = _NUMBER.match(text)
    return match[0] if match is not None else ""


def _find_score(text: str) -> str:
    match = _SCORE.search(text)
    return _find_number(match[1]) if match is not None else ""


def _is_at_least(score: str, least: int) -> bool:
    return bool(score) and float(score) >= least

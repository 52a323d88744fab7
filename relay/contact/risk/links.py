"""Links that lead elsewhere than they say.

Owns the host of a link and the host that its text names. Never asks anybody. Follows the URL standard where
browsers do: back slashes, blanks inside, user names before an `@`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

import regex

from relay.auth.words import show
from relay.contact.risk.codes import Risk, RiskCode
from relay.contact.risk.lookalikes import OwnDomains, encode, is_same_organisation
from relay.contact.risk.page import Link
from relay.contact.risk.people import get_domain, judge_domain

#: Links of one mail that are judged, and characters of a text that are read.
_MOST = 5_000
_LONGEST = 500
_BLANKS = re.compile(r"[\t\r\n]+")
_WEB = re.compile(r"[\x00-\x20]*(?:https?:[/\\]*|[/\\]{2,})([^/\\?#]*)", re.IGNORECASE)
_INVISIBLE = regex.compile(r"\p{Cf}+")
_NAME = r"[\p{L}\p{N}](?:[\p{L}\p{N}-]{0,62}+)(?:\.[\p{L}\p{N}-]{1,63}+){1,8}+"
_ADDRESS = regex.compile(rf"[^\s@<>()]{{1,64}}@({_NAME})")
_SPELT = regex.compile(
    rf"(?i)(?<![\p{{L}}\p{{N}}])(?:https?://(?:[^\s/@]{{1,100}}@)?(?:www\.)?|www\.)({_NAME})"
)
#: The text is a host and perhaps a path, and nothing else.
_WHOLE = regex.compile(rf"[\s\"'(<\[]*+({_NAME})(?::\d{{1,5}})?(?:[/?#]\S*+)?[\s\"')>\]:.,]*+")
#: Last labels by which a word with a dot is taken for a host, with all of two letters; "report.pdf" is none.
_TOPS = frozenset({
    "com", "net", "org", "edu", "gov", "mil", "int", "info", "biz", "name", "pro", "aero", "coop",
    "museum", "jobs", "mobi", "travel", "cat", "tel", "asia", "app", "dev", "io", "online", "site",
    "shop", "store", "xyz", "top", "club", "bank", "cloud", "email", "live", "news", "page", "link",
    "web", "world", "today", "agency", "digital", "solutions", "services", "support", "team", "tech",
    "finance", "insure", "insurance", "example", "test", "invalid", "localhost",
})  # fmt: skip
_FILES = frozenset({
    "ai", "cc", "gz", "js", "md", "pl", "ps", "py", "rb", "rs", "sh", "so", "ts", "vb",
})  # fmt: skip


def find_link_risks(links: Iterable[Link], own: OwnDomains) -> Iterator[Risk]:
    """The risks of links: of their hosts, and of what their texts say."""
    seen: set[str] = set()
    for number, link in enumerate(links):
        if number >= _MOST:
            return
        host, user = read_host(link.target)
        if not host:
            continue
        if host not in seen:
            seen.add(host)
            yield from judge_domain(host, own)
        named = find_named_host(link.text)
        if user and (spelt := find_named_host(user)):
            named = spelt
        if named and not is_same_organisation(named, host):
            detail = f"{show(encode(named))} leads to {show(encode(host))}"
            yield Risk(code=RiskCode.OTHER_HOST, detail=detail)


def read_host(target: str) -> tuple[str, str]:
    """The host that a link leads to, and the user name before it; "" where it has none."""
    target = _BLANKS.sub("", target[: 4 * _LONGEST]).strip()
    if target[:7].lower() == "mailto:":
        return get_domain(unquote(target[7:]).split("?")[0].split(",")[0]), ""
    found = _WEB.match(target)
    if found is None:
        return "", ""
    user, _, place = found[1].rpartition("@")
    host = unicodedata.normalize("NFKC", unquote(place)).partition(":")[0]
    return host.strip(" ."), unquote(user)


def find_named_host(text: str) -> str:
    """The host that a text names; "" where it names none."""
    text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text[:_LONGEST])).strip()
    if "." not in text:
        return ""
    if (found := _SPELT.search(text)) is not None:
        return str(found[1])
    if (found := _ADDRESS.fullmatch(text)) is not None:
        return str(found[1])
    found = _WHOLE.fullmatch(text)
    return str(found[1]) if found is not None and _is_host(found[1]) else ""


def _is_host(name: str) -> bool:
    top = name.rpartition(".")[2].casefold()
    return top in _TOPS or (len(top) == 2 and top.isalpha() and top not in _FILES) or top.startswith("xn--")

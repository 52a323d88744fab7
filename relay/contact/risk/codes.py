"""The closed list of risks for the reader of a mail, one sentence each.

Owns the *codes*: they stand in the contact attribute `relay_risk`, and docs/risk.md is made from this module.
Never looks at a mail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relay.contact.sentences import DocumentedCode


class RiskCode(DocumentedCode):
    """The code of a risk."""

    # fmt: off
    OTHER_ADDRESS = "name.other_address", "The display name in From, Sender or Reply-To holds an address of another domain than the address behind it, so that a program which shows names alone shows the wrong sender."
    OUR_ADDRESS = "name.our_address", "The display name holds an address or a domain of ours, or a protected one, but the address behind it is somebody else's."
    REPLY_ELSEWHERE = "reply_to.other_organisation", "An answer would go to another organisation than the author's. Domains belong together where one lies below the other, or where both lie below one domain that can be registered; answers to us are no risk."
    LOOKALIKE = "domain.lookalike", "A domain of the author, of Sender, of Reply-To, of the reverse-path or of a link looks like one of ours or a protected one: by letters of other scripts (also in punycode), by digits for letters, or because it begins with that domain and goes on."
    MIXED_SCRIPTS = "domain.mixed_scripts", "A word of such a domain mixes letters of scripts that no language writes together, such as Latin and Cyrillic."
    OTHER_HOST = "link.other_host", "The text of a link names another host than the one it leads to, or the link names a host before an `@` that it does not lead to."
    HIDDEN = "text.hidden", "HTML holds words that a reader does not see: not displayed, of no size, transparent, in the colour of the background, or off the page. Newsletters hide a line for the list of mails, too."
    INVISIBLE = "text.invisible_characters", "The subject or the text holds characters that show nothing and can carry words: tag characters, zero-width characters inside words or in long runs, or runs of variation selectors."
    FOR_MACHINE = "text.for_machine", "Words that a reader does not see (hidden text, comments, descriptions of pictures, invisible characters, the text beside the HTML that is shown) are addressed to a program: they ask it to ignore its orders, or to act."
    EXECUTABLE = "file.executable", "A file that a machine executes stands behind a harmless name: another extension, none, two of them, a name that is turned around, or an archive."
    MACRO = "file.macro", "A document holds macros, and its name does not say so."
    PASSWORD = "file.password", "An archive or document is protected by a password, so that no scanner has seen what is in it. ZIP, RAR and Microsoft Office tell; a 7-Zip archive does where its table is not packed."
    # fmt: on


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """A risk that was found; the detail quotes every token of the mail, and never hidden words."""

    code: RiskCode
    detail: str


def name_codes(risks: Sequence[Risk]) -> tuple[str, ...]:
    """The codes of risks in the order of the table, each once."""
    if not risks:
        return ()
    found = {risk.code for risk in risks}
    return tuple(str(code) for code in RiskCode if code in found)


#: Details of one code that are told; a mail may have a thousand links.
_MOST_DETAILS = 3


def build_risk_attributes(risks: Sequence[Risk]) -> dict[str, str]:
    """The two attributes: the codes, parted by blanks, and the details; none where nothing was found."""
    if not risks:
        return {}
    told: dict[RiskCode, list[str]] = {}
    for risk in risks:
        details = told.setdefault(risk.code, [])
        if risk.detail not in details:
            details.append(risk.detail)
    codes = [code for code in RiskCode if code in told]
    pieces = [
        f"{code}: {', '.join(told[code][:_MOST_DETAILS])}" + _tell_more(len(told[code])) for code in codes
    ]
    return {"risk": " ".join(codes), "risk_detail": "; ".join(pieces)}


def _tell_more(count: int) -> str:
    return f" and {count - _MOST_DETAILS:,} more" if count > _MOST_DETAILS else ""


def build_risk_document() -> str:
    """The text of `docs/risk.md`."""
    lines = [
        "# Risk for the reader",
        "",
        "What in a mail may mislead its reader: an agent, or a program that reads the contact for one. The attribute",
        "`relay_risk` has the codes, parted by blanks, so that a flow can branch on them; `relay_risk_detail` says for each",
        "what was found. The attributes are missing where nothing was found. `relay explain` shows both.",
        "",
        "A code is a fact about the mail and no judgement: a newsletter hides a line, and its links pass a counter. Nothing",
        "is looked up; the mail alone is read, where it is [understood](flow.md#workers), and at most 150,000 tokens of its",
        "HTML, and 65,536 characters of each place where words are hidden. Ours are the domains in `match` and `destination` of the [routes](configuration.md); names of others that",
        "should not be imitated stand in `identity.protected`. Every token of the mail is quoted in the details, and",
        "hidden words are never repeated there, because whom they are meant for reads attributes, too. A contact made of",
        "the mail's original (the last rung) has only what its header shows.",
        "",
        "This page is made from `relay/contact/risk/codes.py` by `make docs`.",
        "",
        "| Code | Meaning |",
        "|---|---|",
        *(f"| `{code}` | {code.sentence} |" for code in RiskCode),
    ]
    return "\n".join(lines) + "\n"

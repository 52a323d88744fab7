"""Words that are addressed to a program: to ignore its orders, to act, or not to tell a person.

Owns their forms in some languages. Never understands them: other words with the same aim are not found, and a
mail about such programs may be. Each form is bounded, so that a search is linear.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import islice

import regex

#: Characters of one place that are read.
_MOST = 65_536
_INVISIBLE = regex.compile(r"[\p{Cf}\ufe00-\ufe0f\U000e0100-\U000e01ef\u034f]+")
#: Each of the above is one of these, and of what people write only joined emoji are; `re` looks faster.
_UNSEEN = re.compile(
    "[\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ufe00-\ufe0f\ufeff\ufff0-\ufffb\U00010000-\U0010ffff]"
)
#: An "i" in whatever case of Turkish.
_TURKIC = str.maketrans({"\u0131": "i", "\u0307": None})
#: Words between those that count.
_GAP = ".{0,40}?"
_PROGRAM = r"(?:ai|a\.i\.|assistants?|language models?|llms?|chat ?bots?|copilot|chatgpt|gpt|claude|gemini|ai agents?)"
_ORDERS = r"(?:instructions?|prompts?|rules?|guidelines?|directives?|orders?|context|polic(?:y|ies))"
_ROMANCE_ORDERS = (
    r"(?:instructions|consignes|r\u00e8gles|instruccion|reglas|istruzion|regole|instru\u00e7\u00f5es|regras)"
)
_SECRETS = (
    r"(?:passwords?|credentials?|api keys?|secrets?|access tokens?|conversations?|customer (?:data|records?)|"
    r"inbox|mailbox|chat history)"
)
_GREETING = r"(?:dear|hey|hello|hi|attention|(?:note|instructions?|message|important) (?:to|for)|if you are)"
_THIS = r"(?:this|the) (?:e-?mail|message|mail|ticket|contact|request|case|refund|claim)"
_TOLD = ("tell", "inform", "mention", "reveal", "show", "alert", "warn", "ask")
Words = tuple[str, ...]
#: Each with groups of words, of each of which one must be in the text before it is searched for: looks that
#: cost little, where a search of the whole text costs much.
_FORMS: tuple[tuple[tuple[Words, ...], str], ...] = (
    (
        (
            ("ignore", "disregard", "forget", "override", "bypass", "overlook"),
            ("instruction", "prompt", "rule", "guideline", "directive", "order", "context", "polic"),
        ),
        rf"\b(?:ignore|disregard|forget|override|bypass|overlook)\b{_GAP}\b{_ORDERS}\b",
    ),
    (
        (("system", "developer"), ("prompt", "message", "instruction")),
        r"\b(?:system|developer) (?:prompt|message|instructions?)\b",
    ),
    ((("injection", "jailbreak"),), r"\b(?:prompt injection|jailbreak)\b"),
    ((("<|",),), r"<\|(?:im_start|im_end|system|user|assistant|endoftext)\|>"),
    (
        (("inst]", "sys>>", "system>", "assistant>", "##"),),
        r"\[/?inst\]|<</?sys>>|</?(?:system|assistant)>|## ?(?:system|instructions?)\b",
    ),
    ((("system", "assistant"), (":",)), r"(?:^|[.>]) ?(?:system|assistant) ?: "),
    (
        (("not", "don't", "never"), _TOLD, ("user", "human", "agent", "customer", "operator", "anyone")),
        rf"\b(?:do not|don't|never) (?:{'|'.join(_TOLD)})\b.{{0,30}}?\b(?:user|human|agent|customer|operator|anyone)\b",
    ),
    (
        (
            (
                "password",
                "credential",
                "key",
                "secret",
                "token",
                "conversation",
                "customer",
                "box",
                "history",
            ),
            ("forward", "send", "reveal", "exfiltrate", "leak", "print", "output", "reply", "share"),
        ),
        rf"\b(?:forward|send|reveal|exfiltrate|leak|print|output|reply with|share)\b{_GAP}\b{_SECRETS}\b",
    ),
    (
        (
            ("summari", "classify", "translat", "respond", "reply", "process"),
            ("when", "while", "before", "after"),
        ),
        r"\b(?:when|while|before|after) (?:you )?(?:summari[sz]|classify|translat|respond|reply|process)",
    ),
    (
        (
            ("summar", "classify", "mark", "treat", "rate", "escalate", "approve", "priorit"),
            ("mail", "message", "ticket", "contact", "request", "case", "refund", "claim"),
        ),
        rf"\b(?:summari[sz]e|classify|mark|treat|rate|escalate|approve|prioriti[sz]e) {_THIS}\b",
    ),
    # German, French, Spanish, Italian, Portuguese, Dutch, Polish, Russian.
    (
        (
            ("ignorier", "missacht", "vergiss", "vergess"),
            ("anweisung", "instruktion", "befehl", "regel", "vorgabe"),
        ),
        rf"\b(?:ignorier|missacht|vergiss|vergess){_GAP}(?:anweisung|instruktion|befehl|regel|vorgabe)",
    ),
    (
        (
            ("ignor", "oubli", "olvid", "dimentic", "esque", "desconsider"),
            ("instruc", "consign", "r\u00e8gle", "reglas", "istruzion", "regole", "instru\u00e7", "regras"),
        ),
        rf"\b(?:ignor|oubli|olvid|dimentic|esque|desconsider){_GAP}{_ROMANCE_ORDERS}",
    ),
    ((("negeer", "vergeet"),), rf"\b(?:negeer|vergeet){_GAP}(?:instructies|regels|opdrachten)"),
    (
        (
            (
                "ignoruj",
                "\u0438\u0433\u043d\u043e\u0440\u0438\u0440\u0443",
                "\u0437\u0430\u0431\u0443\u0434\u044c",
            ),
        ),
        "(?:ignoruj|\u0438\u0433\u043d\u043e\u0440\u0438\u0440\u0443|\u0437\u0430\u0431\u0443\u0434\u044c)"
        + _GAP
        + "(?:instrukcj|poleceni|\u0438\u043d\u0441\u0442\u0440\u0443\u043a\u0446|\u0443\u043a\u0430\u0437\u0430\u043d)",
    ),
    # Chinese, Japanese, Korean: words without blanks.
    (
        (("\u6307\u4ee4", "\u6307\u793a", "\u63d0\u793a"),),
        "(?:\u5ffd\u7565|\u65e0\u89c6|\u7121\u8996|\u5fd8\u8bb0).{0,20}?(?:\u6307\u4ee4|\u6307\u793a|\u63d0\u793a)",
    ),
    ((("\u7121\u8996",),), "(?:\u6307\u793a|\u547d\u4ee4).{0,10}?\u7121\u8996"),
    ((("\ubb34\uc2dc",),), "(?:\uc9c0\uc2dc|\uba85\ub839).{0,10}?\ubb34\uc2dc"),
)
_SEARCHES = tuple((groups, regex.compile(form)) for groups, form in _FORMS)
#: Forms that call a program by its kind or its name, and those names.
_CALLS = (
    rf"\byou are (?:\w{{1,20}} ){{0,4}}{_PROGRAM}\b",
    rf"\b{_GREETING}[:,]? (?:\w{{1,20}} ){{0,3}}{_PROGRAM}\b",
    rf"\b{_PROGRAM} (?:must|should|shall|needs? to|is to|are to|has to|will now|reading|that reads?)\b",
)
_CALL = regex.compile("|".join(_CALLS))
_NAMES = ("a.i.", "assistant", "language", "llm", "bot", "copilot", "gpt", "claude", "gemini")
#: The word alone: "wait" and "email" hold its letters.
_AI = re.compile(r"ai(?<!\wai)(?!\w)", re.ASCII)


def is_for_machine(pieces: Sequence[str]) -> bool:
    """Returns whether words are addressed to a program, by their form; the first 65,536 characters count."""
    if not pieces:
        return False
    text = " ".join(islice(pieces, _MOST))[:_MOST]
    if text.isascii():
        lower = text.lower()
    else:
        lower = _strip_invisible(unicodedata.normalize("NFKC", text)).lower().translate(_TURKIC)
    words = lower.split()
    lower = f"{lower[:1].isspace() * ' '}{' '.join(words)}{lower[-1:].isspace() * ' '}"
    # People say few different words.
    said = " ".join(set(words))
    if (any(name in said for name in _NAMES) or _AI.search(said)) and _CALL.search(lower) is not None:
        return True
    return any(
        all(any(word in said for word in group) for group in groups) and search.search(lower) is not None
        for groups, search in _SEARCHES
    )


def _strip_invisible(text: str) -> str:
    """The text without characters that show nothing; most texts have none, and one look says so."""
    return _INVISIBLE.sub("", text) if _UNSEEN.search(text) is not None else text

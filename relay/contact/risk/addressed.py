"""Words that are addressed to a program: to ignore its orders, to act, or not to tell a person.

Owns their forms in some languages. Never understands them: other words with the same aim are not found, and a
mail about such programs may be. Each form is bounded, so that a search is linear.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import islice

import regex

#: Characters of one place that are read.
_MOST = 65_536
_INVISIBLE = regex.compile(r"[\p{Cf}\ufe00-\ufe0f\U000e0100-\U000e01ef\u034f]+")
_BLANKS = regex.compile(r"\s+")
#: Words between those that count.
_GAP = ".{0,40}?"
_PROGRAM = r"(?:ai|a\.i\.|assistants?|language models?|llms?|chat ?bots?|copilot|chatgpt|gpt|claude|gemini|ai agents?)"
_NAMES = (
    "ai",
    "a.i.",
    "assistant",
    "language model",
    "llm",
    "chatbot",
    "chat bot",
    "copilot",
    "gpt",
    "claude",
    "gemini",
)
_ORDERS = r"(?:instructions?|prompts?|rules?|guidelines?|directives?|orders?|context|polic(?:y|ies))"
_ROMANCE_ORDERS = (
    r"(?:instructions|consignes|r\u00e8gles|instruccion|reglas|istruzion|regole|instru\u00e7\u00f5es|regras)"
)
_SECRETS = (
    r"(?:passwords?|credentials?|api keys?|secrets?|access tokens?|conversations?|customer (?:data|records?)|"
    r"inbox|mailbox|chat history)"
)
_GREETING = r"(?:dear|hey|hello|hi|attention|(?:note|instructions?|message|important) (?:to|for)|if you are)"
_NOT_TOLD = r"(?:tell|inform|mention|reveal|show|alert|warn|ask)"
_THIS = r"(?:this|the) (?:e-?mail|message|mail|ticket|contact|request|case|refund|claim)"
#: Each with the words of which one must be there before it is searched for: a look that costs little.
_FORMS = (
    (
        ("ignore", "disregard", "forget", "override", "bypass", "overlook"),
        rf"\b(?:ignore|disregard|forget|override|bypass|overlook)\b{_GAP}\b{_ORDERS}\b",
    ),
    (("system", "developer"), r"\b(?:system|developer) (?:prompt|message|instructions?)\b"),
    (("prompt injection", "jailbreak"), r"\b(?:prompt injection|jailbreak)\b"),
    (("you are",), rf"\byou are (?:\w{{1,20}} ){{0,4}}{_PROGRAM}\b"),
    (_NAMES, rf"\b{_GREETING}[:,]? (?:\w{{1,20}} ){{0,3}}{_PROGRAM}\b"),
    (
        _NAMES,
        rf"\b{_PROGRAM} (?:must|should|shall|needs? to|is to|are to|has to|will now|reading|that reads?)\b",
    ),
    (("<|",), r"<\|(?:im_start|im_end|system|user|assistant|endoftext)\|>"),
    (
        ("inst]", "sys>>", "system", "assistant", "instruction"),
        r"\[/?inst\]|<</?sys>>|</?(?:system|assistant)>|## ?(?:system|instructions?)\b",
    ),
    (("system", "assistant"), r"(?:^|[.>]) ?(?:system|assistant) ?: "),
    (
        ("do not", "don't", "never"),
        rf"\b(?:do not|don't|never) {_NOT_TOLD}\b.{{0,30}}?\b(?:user|human|agent|customer|operator|anyone)\b",
    ),
    (
        ("forward", "send", "reveal", "exfiltrate", "leak", "print", "output", "reply with", "share"),
        rf"\b(?:forward|send|reveal|exfiltrate|leak|print|output|reply with|share)\b{_GAP}\b{_SECRETS}\b",
    ),
    (
        ("when", "while", "before", "after"),
        r"\b(?:when|while|before|after) (?:you )?(?:summari[sz]|classify|translat|respond|reply|process)",
    ),
    (
        ("summar", "classify", "mark", "treat", "rate", "escalate", "approve", "priorit"),
        rf"\b(?:summari[sz]e|classify|mark|treat|rate|escalate|approve|prioriti[sz]e) {_THIS}\b",
    ),
    # German, French, Spanish, Italian, Portuguese, Dutch, Polish, Russian.
    (
        ("ignorier", "missacht", "vergiss", "vergess"),
        rf"\b(?:ignorier|missacht|vergiss|vergess){_GAP}(?:anweisung|instruktion|befehl|regel|vorgabe)",
    ),
    (
        ("ignor", "oubli", "olvid", "dimentic", "esque", "desconsider"),
        rf"\b(?:ignor|oubli|olvid|dimentic|esque|desconsider){_GAP}{_ROMANCE_ORDERS}",
    ),
    (("negeer", "vergeet"), rf"\b(?:negeer|vergeet){_GAP}(?:instructies|regels|opdrachten)"),
    (
        (
            "ignoruj",
            "\u0438\u0433\u043d\u043e\u0440\u0438\u0440\u0443",
            "\u0437\u0430\u0431\u0443\u0434\u044c",
        ),
        "(?:ignoruj|\u0438\u0433\u043d\u043e\u0440\u0438\u0440\u0443|\u0437\u0430\u0431\u0443\u0434\u044c)"
        + _GAP
        + "(?:instrukcj|poleceni|\u0438\u043d\u0441\u0442\u0440\u0443\u043a\u0446|\u0443\u043a\u0430\u0437\u0430\u043d)",
    ),
    # Chinese, Japanese, Korean: words without blanks.
    (
        ("\u6307\u4ee4", "\u6307\u793a", "\u63d0\u793a"),
        "(?:\u5ffd\u7565|\u65e0\u89c6|\u7121\u8996|\u5fd8\u8bb0).{0,20}?(?:\u6307\u4ee4|\u6307\u793a|\u63d0\u793a)",
    ),
    (("\u7121\u8996",), "(?:\u6307\u793a|\u547d\u4ee4).{0,10}?\u7121\u8996"),
    (("\ubb34\uc2dc",), "(?:\uc9c0\uc2dc|\uba85\ub839).{0,10}?\ubb34\uc2dc"),
)
_SEARCHES = tuple((words, regex.compile(form, regex.IGNORECASE)) for words, form in _FORMS)


def is_for_machine(pieces: Sequence[str]) -> bool:
    """Returns whether words are addressed to a program, by their form; the first 65,536 characters count."""
    text = " ".join(islice(pieces, _MOST))[:_MOST]
    if not text.isascii():
        text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    text = _BLANKS.sub(" ", text)
    lower = text.lower()
    return any(
        any(word in lower for word in words) and search.search(text) is not None
        for words, search in _SEARCHES
    )

"""Letters of other scripts that look like letters of ours, as a domain may hold them.

Owns the table. It is made from the confusables of Unicode Technical Standard #39 (confusables.txt), as of
January 2024: lower-case letters and digits that look like ASCII ones, of scripts that a registry may take.
Copyright Unicode, Inc.; used under the Unicode License V3 (https://www.unicode.org/license.txt). `_NEAR` is
ours. Never judges a domain.
"""

from __future__ import annotations

_LOOKS_LIKE = {
    "2": "\u14bf",
    "4": "\u13ce",
    "6": "\u0431\u13ee",
    "8": "\u0223\u09ea\u0a6a",
    "9": "\u09ed\u0a67\u0b68\u0d6d",
    "a": "\u0251\u03b1\u0430\u13aa\u15c5\ua4ee",
    "aa": "\ua733",
    "ae": "\u00e6\u04d5",
    "ao": "\ua735",
    "au": "\ua737",
    "av": "\ua739\ua73b",
    "ay": "\ua73d",
    "b": "\u13cf\u13f4\u1472\u15af\u15f7\ua4d0",
    "c": "\u0441\u13df\u1d04\u2ca5\ua4da",
    "d": "\u0501\u13a0\u13e7\u146f\u15de\u15ea\ua4d2\ua4d3",
    "dz": "\u02a3",
    "e": "\u0435\u04bd\u13ac\u2d39\ua4f0\uab32",
    "f": "\u0584\u15b4\u1e9d\ua4dd\ua799\uab35",
    "g": "\u018d\u0261\u0581\u13c0\u13f3\u1d83\ua4d6",
    "h": "\u04bb\u0570\u13bb\u13c2\u157c\ua4e7",
    "i": "\u0131\u0269\u026a\u03b9\u0456\u04cf\u13a5\ua647",
    "j": "\u03f3\u0458\u13ab\u148d\ua4d9",
    "k": "\u13e6\u16d5\ua4d7",
    "l": "\u01c0\u06f1\u13de\u14aa\u16c1\u2d4f\ua4e1\ua4f2",
    "ll": "\u01c1",
    "ls": "\u02aa",
    "lz": "\u02ab",
    "m": "\u13b7\u15f0\u16d6\ua4df",
    "n": "\u0578\u057c\ua4e0",
    "o": (
        "\u03bf\u03c3\u043e\u0585\u06f5\u0966\u09e6\u0a66\u0ae6\u0b20\u0b66\u0be6\u0c66\u0ce6"
        "\u0d20\u0d66\u0e50\u0ed0\u101d\u1040\u10ff\u12d0\u1d0f\u1d11\u2c9f\u2d54\ua4f3\uab3d"
        "\U000114d0"
    ),
    "oe": "\u0153",
    "oo": "\ua699\ua74f",
    "p": "\u03c1\u0440\u13e2\u146d\u2ca3\ua4d1",
    "q": "\u051b\u0563\u0566\u2d55",
    "r": "\u0433\u13a1\u13d2\u1587\u1d26\u2c85\ua4e3\uab47\uab48",
    "s": "\u01bd\u0455\u13d5\u13da\ua4e2\ua731",
    "t": "\u13a2\ua4d4",
    "tf": "\ua777",
    "ts": "\u02a6",
    "u": "\u028b\u03c5\u057d\u1200\u144c\u1d1c\ua4f4\ua79f\uab4e\uab52",
    "ue": "\u1d6b",
    "uo": "\uab63",
    "v": "\u03bd\u0475\u06f7\u13d9\u142f\u1d20\u2d38\ua4e6\ua6df",
    "w": "\u026f\u0461\u051d\u0561\u13b3\u13d4\u1d21\ua4ea",
    "x": "\u0445\u1541\u157d\u16b7\u2d5d\ua4eb",
    "y": "\u0263\u028f\u03b3\u0443\u04af\u10e7\u13a9\u13bd\u1d8c\u1eff\ua4ec\uab5a",
    "z": "\u13c3\u1d22\ua4dc",
}
#: Small letters that look like ours at a glance, though the standard pairs only their capitals.
_NEAR = {
    "b": "\u0432\u044c\u03b2", "h": "\u043d", "k": "\u043a\u03ba\u0138", "m": "\u043c", "n": "\u03b7\u043f",
    "t": "\u0442\u03c4", "e": "\u03b5", "d": "\u0111", "l": "\u0142", "o": "\u00f8", "z": "\u0290",
}  # fmt: skip

#: By code point, for `str.translate`.
CONFUSABLES = {
    ord(letter): ascii_letters
    for table in (_NEAR, _LOOKS_LIKE)
    for ascii_letters, letters in table.items()
    for letter in letters
}

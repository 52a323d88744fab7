"""Command lines as a transcript shows them: without secrets, and no longer than a line.

Owns which arguments may be shown. A line that is no command may be a password that came too late, and is
shown as its length; so is what answers a challenge of AUTH. Values in, values out, for any octets.
"""

from __future__ import annotations

from relay.smtp.paths import LONG_LOCAL, parse_path
from relay.tail.event import LINE_CHARACTERS

#: Commands whose arguments are no secrets.
_WHOLE = frozenset({b"HELO", b"EHLO", b"LHLO", b"MAIL", b"RCPT", b"BDAT", b"XCLIENT", b"XFORWARD"})
#: Commands whose arguments, if there are any, should not be there.
_BARE = frozenset({
    b"STARTTLS", b"DATA", b"RSET", b"NOOP", b"QUIT", b"VRFY", b"HELP", b"EXPN", b"ETRN", b"TURN", b"BURL",
})  # fmt: skip


def count_octets(octets: int) -> str:
    """A number of octets in the place of what they were."""
    return f"[{octets:,} {'octet' if octets == 1 else 'octets'}]"


def show_text(octets: bytes) -> str:
    """Octets as text of bounded length."""
    text = octets[: LINE_CHARACTERS + 1].decode("utf-8", "backslashreplace")
    if len(octets) <= LINE_CHARACTERS and len(text) <= LINE_CHARACTERS:
        return text
    return f"{text[:LINE_CHARACTERS]}... {count_octets(len(octets))}"


def show_command(line: bytes, *, is_secret: bool) -> str:
    """A line of the peer without its end; `is_secret`: it answers a challenge of AUTH."""
    verb, blank, argument = line.replace(b"\t", b" ").partition(b" ")
    word = verb.upper()
    if is_secret:
        return "*" if line == b"*" else count_octets(len(line))  # RFC 4954 §4: the star gives the login up
    if word in _WHOLE:
        return show_text(line)
    if word == b"AUTH":
        mechanism, more, response = argument.strip(b" ").partition(b" ")
        return show_text(b"AUTH " + mechanism) + (f" {count_octets(len(response))}" if more else "")
    if word in _BARE:
        return show_text(verb) + (f" {count_octets(len(argument))}" if blank else "")
    return count_octets(len(line))


def read_recipient(line: bytes) -> str | None:
    """The address that a RCPT names. Returns None where the line is no RCPT, or names none."""
    verb, _, argument = line.replace(b"\t", b" ").partition(b" ")
    if verb.upper() != b"RCPT":
        return None
    path = parse_path(argument.strip(b" "), b"TO:", lenient=True, limits=LONG_LOCAL)
    return path.address if path is not None else None

"""Other protocols: lines and octets by which a peer shows that it does not speak SMTP.

Owns those words only. A session hangs up on them (RFC 5321 §7.8). Never touches a socket.
"""

from __future__ import annotations

import re

from relay import replies

# The length of a verb, or of a word that could have been one, such as the name of a header field.
_WORD_OCTETS = 80
_WORD = re.compile(rb"[A-Za-z0-9_:.<>@-]{0,%d}" % _WORD_OCTETS)
_FOREIGN = frozenset({
    b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT", b"DELETE", b"PATCH", b"TRACE", b"PRI",  # RFC 9110, 9113
    b"PROPFIND", b"PROXY", b"USER", b"PASS", b"NICK", b"CAP", b"REGISTER", b"INVITE", b"DESCRIBE", b"SETUP",
})  # fmt: skip
# SSH of any version (RFC 4253 §4.2); XMPP and XML.
_FOREIGN_FRONTS = (b"SSH-", b"<")
# The version at the end of a request line, whatever its method: RFC 9112 §3, RFC 3261 §7.1, RFC 7826.
_REQUEST = re.compile(rb" (?:HTTP|SIP|RTSP|ICAP)/[0-9](?:\.[0-9])?\Z", re.IGNORECASE)


# RFC 5321 §7.8: control characters come from a browser or a script, never from a mail server.
CONTROLS = bytes([*range(9), *range(10, 32), 127])
# RFC 5321 §4.1.2: no command holds NUL or controls. Where they stand in a path, the reply names the path.
DIRTY = {b"MAIL": replies.BAD_SENDER, b"RCPT": replies.BAD_RECIPIENT}


def is_foreign(line: bytes) -> bool:
    """Returns whether a line that is no command of ours begins another protocol, or has no word at its
    beginning.
    """
    verb = line.partition(b" ")[0].upper()
    return (
        verb in _FOREIGN
        or verb.startswith(_FOREIGN_FRONTS)
        or not _WORD.fullmatch(verb)
        or _REQUEST.search(line, max(len(line) - 12, 0)) is not None
    )


def is_binary(front: bytes) -> bool:
    """Returns whether a line that has no end yet has begun with octets with which no command begins."""
    word = _WORD.match(front)
    assert word is not None  # it may be empty
    end = word.end()
    return end < _WORD_OCTETS and front[end : end + 1] not in (b"", b" ", b"\r")

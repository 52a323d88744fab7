"""The clock of this machine beside the clock of S3: how far it is off, and which errors come of that.

Owns those words and the question for the time. AWS refuses signatures that are over 15 minutes off, and a
certificate that is "not yet valid" to us is most often valid to everyone else.
"""

from __future__ import annotations

import http.client
import re
import ssl
import urllib.parse
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from relay.check.finding import Finding, fail, ok, warn
from relay.errors import RemoteError

#: Most seconds between the clocks: AWS refuses signatures that are over 15 minutes off, and URLs suffer
#: earlier.
_SKEW_SECONDS = 300
_PATIENCE_SECONDS = 10
#: Codes that AWS has for a request that was signed at another time than the service's.
_CODES = frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"})
#: Words of other codes (InvalidSignatureException), and of OpenSSL about a certificate.
_WORDS = re.compile(
    r"Signature expired|Signature not yet current|certificate is not yet valid", re.IGNORECASE
)


def is_of_the_clock(error: RemoteError) -> bool:
    """Returns whether a wrong clock of this machine explains the error."""
    return error.code in _CODES or _WORDS.search(error.detail) is not None


def measure(date: str, now: datetime) -> timedelta | None:
    """The time by which our clock is ahead of the Date of an answer (RFC 9110 §6.6.1), negative when behind.
    Returns None where there is no date.
    """
    try:
        theirs = parsedate_to_datetime(date)
    except (TypeError, ValueError):
        return None
    return now - (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC))


def compare(date: str, now: datetime) -> Finding:
    """Compare our clock with the Date of S3's answer."""
    ahead = measure(date, now)
    if ahead is None:
        return warn("clock", "S3 gave no date to compare with")
    return judge(ahead)


def judge(ahead: timedelta, *, whose: str = "S3") -> Finding:
    """Judge the time by which our clock is ahead of that of a service."""
    if abs(ahead.total_seconds()) > _SKEW_SECONDS:
        return fail("clock", f"{advise(ahead, whose=whose)}; AWS refuses what is signed 15 minutes off")
    return ok("clock", f"{round(ahead.total_seconds()):+d} seconds from {whose}'s")


def advise(ahead: timedelta | None, *, whose: str = "S3") -> str:
    """The advice to look at the clock, with the difference where it is known."""
    seconds = abs(ahead.total_seconds()) if ahead is not None else 0.0
    if ahead is None or seconds < _SKEW_SECONDS:
        return "look at the clock (NTP)"
    side = "ahead of" if ahead > timedelta() else "behind"
    units = (("days", 86_400), ("hours", 3_600), ("minutes", 60))
    unit, length = next(each for each in units if seconds >= 2 * each[1])
    return f"look at the clock (NTP): it is {seconds / length:.0f} {unit} {side} {whose}'s"


def ask_date(url: str) -> str:
    """The Date that the service behind a URL gives, whatever its certificate. Returns "" where none comes.

    The date is used for a sentence alone: nothing is sent but a request for "/".
    """
    parts = urllib.parse.urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # a wrong clock is why the certificate does not pass
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(host, parts.port, timeout=_PATIENCE_SECONDS, context=context)
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=_PATIENCE_SECONDS)
    try:
        connection.request("HEAD", "/")
        return connection.getresponse().getheader("Date") or ""
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()

"""The certificate as a peer sees it: a handshake in memory, without a parser of our own.

Owns the findings about expiry, chain and names. RFC 7817 is about names in mail certificates; senders that
verify at all (DANE, MTA-STS) compare the name of the MX record.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from relay.check.finding import Finding, fail, ok, warn
from relay.config import Config

#: Certificates that renew themselves do so a month before their end; two weeks leave time for a repair.
_SOON = timedelta(days=14)
#: The word of OpenSSL (X509_V_ERR_CERT_NOT_YET_VALID).
_TOO_EARLY = "certificate is not yet valid"


def examine_certificate(config: Config, *, now: datetime) -> Iterator[Finding]:
    """Examine expiry, chain and host name. That the pair can be loaded was examined before."""
    certificate, key = config.tls.certificate, config.tls.key
    if not certificate or not key:
        if any(listener.tls == "starttls" for listener in config.listeners):
            yield warn(
                "certificate", "none is named: STARTTLS is not offered, and mail crosses the net in clear"
            )
        return
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    yield _expiry(server, certificate, now)
    for more in config.tls.more:
        another = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        another.load_cert_chain(more.certificate, more.key)
        yield _expiry(another, more.certificate, now)
    roots = ssl.create_default_context()
    roots.check_hostname = False
    wrong = _handshake(server, roots, config.hostname)
    if isinstance(wrong, str):
        yield warn("certificate", f"senders that verify will not: {wrong} (is it the full chain?)")
    named = _trusting(certificate)
    named.check_hostname = True
    wrong = _handshake(server, named, config.hostname)
    if isinstance(wrong, str) and "match" in wrong:
        yield warn("certificate", f"is not for {config.hostname}, the name in our banner: {wrong}")


def _trusting(certificate: Path) -> ssl.SSLContext:
    """A client that takes this very certificate as an authority, so that it refuses only a wrong time or
    name.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(certificate)
    return client


def _expiry(server: ssl.SSLContext, certificate: Path, now: datetime) -> Finding:
    seen = _handshake(server, _trusting(certificate), "")
    if seen == _TOO_EARLY:
        # its authority dates it back by an hour at issue: most often it is our clock that is behind
        return fail(
            "certificate", f"{certificate}: {seen}; look at the clock (NTP): it says {now:%Y-%m-%d %H:%M} UTC"
        )
    if isinstance(seen, str):
        return fail("certificate", f"{certificate}: {seen}; renew it")
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(seen["notAfter"])), UTC)
    days = (until - now).days
    if until - now < _SOON:
        return warn("certificate", f"{certificate} ends in {days} days, on {until:%Y-%m-%d}; renew it")
    return ok("certificate", f"{certificate} is good until {until:%Y-%m-%d}")


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext, hostname: str) -> dict[str, object] | str:
    """Shake hands. Returns the certificate that the client took, or why it took none."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname=hostname or None)
    for _ in range(10):  # TLS 1.3 needs two turns, 1.2 four
        for side in (theirs, ours):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as exc:
                return str(exc.verify_message)
            except ssl.SSLError as exc:
                return str(exc.reason)
            if side is theirs:
                return dict(theirs.getpeercert() or {})
    return "the handshake does not end"

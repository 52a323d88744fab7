"""TLS: the server's context, and the certificate that may change under it.

Owns the choice of protocols and the watch over the files. TLS 1.2 and newer (RFC 8996), with forward secrecy
but for opportunistic peers that have nothing better.
A changed certificate is read into a context of its own, which is put in place only when the certificate is
whole: while the files are half written, the old one stays in force.
"""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

from relay import telemetry
from relay.config.listener import Tls

# TLS 1.2 with forward secrecy and authenticated encryption only (RFC 9325 §4.2); TLS 1.3 chooses for itself.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
# Where a peer may also send in clear, as it does after a handshake that failed, the worst of these is better
# than none (RFC 7435 §3): ECDHE with CBC, then RSA with GCM, after all others.
_OPPORTUNISTIC = _CIPHERS + ":ECDHE+AES:RSA+AESGCM:!AESCCM:!aNULL"
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class _Connection(ssl.SSLObject):
    """One side of a connection. When its handshake fails, the error has the alert that is still to be sent to
    the peer.

    RFC 8446 §6.2 wants an alert. Event loops abort the connection with the alert unsent: the peer's log would
    speak of a lost connection where it should name the protocol, the cipher or the certificate.
    """

    outgoing: ssl.MemoryBIO

    def do_handshake(self) -> None:
        """Go on with the handshake."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as exc:
            exc.alert = self.outgoing.read()  # type: ignore[attr-defined]
            raise


class _Context(ssl.SSLContext):
    """A context that makes such connections."""

    sslobject_class = _Connection

    def wrap_bio(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **options: Any
    ) -> ssl.SSLObject:
        """A new connection, as an event loop asks for it."""
        made = super().wrap_bio(incoming, outgoing, *args, **options)
        assert isinstance(made, _Connection)
        made.outgoing = outgoing
        return made


def send_alert(error: OSError, descriptor: int) -> None:
    """Send the peer the alert of its failed handshake, where there is one. Never blocks."""
    alert: bytes = getattr(error, "alert", b"")
    if alert:
        with suppress(OSError):  # the peer has closed, or does not read
            os.write(descriptor, alert)


class Certificates:
    """The context for new handshakes, renewed when its files change."""

    def __init__(
        self, tls: Tls, *, ask_client: bool, optional: bool = False, opportunistic: bool = False
    ) -> None:
        """The certificates of listeners. With `ask_client` a client may show its own one, which ends the
        handshake if it does not verify; with `optional`, it is no login then.
        """
        if tls.certificate is None or tls.key is None:
            raise ValueError("no certificate is configured")
        self._tls = tls
        self._ciphers = tls.ciphers or (_OPPORTUNISTIC if opportunistic else _CIPHERS)
        self._optional = optional
        self._client_ca = tls.client_ca if ask_client else None
        #: By the name in SNI, the certificates that are shown; "" has those of all other names.
        self._pairs: dict[str, list[tuple[Path, Path]]] = {"": [(tls.certificate, tls.key)]}
        for more in tls.more:
            for name in more.names or ("",):
                self._pairs.setdefault(name.lower(), []).append((more.certificate, more.key))
        pairs = [path for pairs in self._pairs.values() for pair in pairs for path in pair]
        self._files = tuple(dict.fromkeys([*pairs, *([tls.client_ca] if tls.client_ca else [])]))
        self._seen: tuple[tuple[int, int, int], ...] | None = None
        self._failed: tuple[tuple[int, int, int], ...] | None = None
        #: None while no certificate could be read at all.
        self.context: ssl.SSLContext | None = None
        self.refresh()

    def refresh(self) -> bool:
        """Read the files again if they have changed. Returns whether new ones are in place now."""
        try:
            seen = tuple(
                (stat.st_mtime_ns, stat.st_size, stat.st_ino)
                for stat in (path.stat() for path in self._files)
            )
        except OSError:
            return False
        if seen in (self._seen, self._failed):
            return False
        try:
            context = self._build()
        except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
            self._failed = seen
            telemetry.certificate_refused(path=str(self._tls.certificate), why=describe_failure(exc))
            return False
        self.context, self._seen, self._failed = context, seen, None
        telemetry.certificate_loaded(path=str(self._tls.certificate))
        return True

    def _build(self) -> ssl.SSLContext:
        """The context of the first certificate, which goes over to another one by the name in SNI."""
        if self._optional and self._client_ca is not None:
            return self._build_optional(self._client_ca)
        contexts = {name: self._build_one(pairs) for name, pairs in self._pairs.items()}
        context = contexts.pop("")

        def choose(connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
            chosen = contexts.get(name.lower().rstrip(".")) if name else None
            if chosen is not None:
                connection.context = chosen

        if contexts:
            context.sni_callback = choose
        return context

    def _build_optional(self, authorities: Path) -> ssl.SSLContext:
        """As `_build`, for clients whose certificate need not verify."""
        # Imported here: the library costs each receiver 9 MB, and few listeners ask for client certificates.
        from relay.smtp.client_certificates import OptionalContext  # noqa: PLC0415

        contexts = {}
        for name, pairs in self._pairs.items():
            made = contexts[name] = OptionalContext(ssl.PROTOCOL_TLS_SERVER)
            made.build(pairs, authorities=authorities, minimum=self._tls.minimum, ciphers=self._ciphers)
        context = contexts.pop("")
        if contexts:
            context.choose_by_name(contexts)
        return context

    def _build_one(self, pairs: list[tuple[Path, Path]]) -> ssl.SSLContext:
        """The context of certificates for the same names; OpenSSL keeps one for each kind of key."""
        context = _Context(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = _VERSIONS[self._tls.minimum]
        context.set_ciphers(self._ciphers)
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        for certificate, key in pairs:
            context.load_cert_chain(certificate, key)
        if self._client_ca is not None:
            context.load_verify_locations(cafile=str(self._client_ca))
            context.verify_mode = ssl.CERT_OPTIONAL
        return context


def describe_failure(error: Exception) -> str:
    """The reason of a handshake that failed, or of a certificate that cannot be read, in OpenSSL's words:
    "no shared cipher", "tlsv1 alert unknown ca", "self-signed certificate". For another error its class.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return type(error).__name__


def describe_tls(connection: ssl.SSLObject) -> str:
    """The protocol and the cipher, as they stand in the trace header."""
    cipher = connection.cipher()
    return f"{connection.version()} {cipher[0] if cipher else 'unknown'}"


def client_name(connection: ssl.SSLObject) -> str | None:
    """The name in a verified client certificate: its e-mail address, DNS name or common name. Returns None
    without one.
    """
    certificate: Any = connection.getpeercert()
    if not certificate:
        return None
    names = dict(reversed(certificate.get("subjectAltName", ())))  # the first of a kind wins
    common = {key: value for entry in certificate.get("subject", ()) for key, value in entry}
    return str(names.get("email") or names.get("DNS") or common.get("commonName") or "certificate")

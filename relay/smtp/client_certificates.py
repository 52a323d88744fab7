"""TLS that asks for a client certificate, and goes on without a login where it does not verify.

The standard library knows only certificates that verify or end the handshake: it has no callback for the
verification (SSL_CTX_set_verify). A mail server that shows its self-signed certificate to everybody would
find no TLS here and send in clear. So these connections are pyOpenSSL's, in the shape of `ssl.SSLObject`, by
which both event loops take them. Owns that shape, and the verdict on the certificate. Sessions are not
resumed: each handshake verifies anew.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto

_VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}
#: OpenSSL's words for the failures of a verification: "depth zero self signed cert".
_WORDS = {
    number: name.removeprefix("ERR_").replace("_", " ").lower()
    for name, number in vars(SSL.X509VerificationCodes).items()
    if name.startswith("ERR_")
}


class _Verdict:
    """The verdict on the certificate of one connection, which the callback of its verification gives."""

    def __init__(self) -> None:
        #: True once the client's own certificate was looked at, after all above it.
        self.complete = False
        self.failure = ""


def _verify(connection: SSL.Connection, _: crypto.X509, number: int, depth: int, verified: int) -> bool:
    """Note the result for one certificate of the chain. Returns True: the handshake goes on in any case."""
    verdict: _Verdict = connection.get_app_data()
    if not verified:
        verdict.failure = verdict.failure or _WORDS.get(number, f"error {number}")
    verdict.complete = verdict.complete or depth == 0
    return True


def _convert(error: SSL.Error) -> ssl.SSLError:
    """The same failure as an error of the standard library, with OpenSSL's reason."""
    if isinstance(error, SSL.SysCallError):
        return ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the peer closed")
    queue = error.args[0] if error.args else ()
    text = str(queue[0][2]) if queue else "unknown error"
    converted = ssl.SSLError(ssl.SSL_ERROR_SSL, text)
    converted.reason = text.upper().replace(" ", "_")
    return converted


class OptionalConnection:
    """The server's side of a TLS connection, used as `ssl.SSLObject` is.

    A client certificate that does not verify does not end it.
    """

    server_side = True

    def __init__(self, context: SSL.Context, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._verdict = _Verdict()
        #: True while octets of the peer are in that may not have been read.
        self._fed = False
        self._connection = SSL.Connection(context, None)
        self._connection.set_app_data(self._verdict)
        self._connection.set_accept_state()

    def _call(self, function: Any, *arguments: Any) -> Any:
        """Call a function of the connection's: first with what it has, then with what has come meanwhile."""
        while True:
            try:
                return function(*arguments)
            except SSL.WantReadError:
                octets = self._incoming.read()
                if not octets:
                    self._fed = False
                    raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "more is needed") from None
                self._connection.bio_write(octets)
                self._fed = True
            except SSL.Error as exc:
                raise _convert(exc) from exc
            finally:
                self._flush()

    def _flush(self) -> None:
        try:
            while octets := self._connection.bio_read(65_536):
                self._outgoing.write(octets)
        except SSL.WantReadError:  # there is no more
            pass

    def do_handshake(self) -> None:
        """Go on with the handshake. When it fails, the error has the alert to be sent (RFC 8446 §6.2)."""
        try:
            self._call(self._connection.do_handshake)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as exc:
            exc.alert = self._outgoing.read()  # type: ignore[attr-defined]
            raise

    def read(self, size: int = 65_536, buffer: memoryview | None = None) -> int | bytes:
        """Octets of the peer, or their number where a buffer is given; none at its end."""
        try:
            if buffer is not None:
                return int(self._call(self._connection.recv_into, buffer, size))
            return bytes(self._call(self._connection.recv, size))
        except ssl.SSLError as exc:
            if isinstance(exc.__cause__, SSL.ZeroReturnError):
                return b"" if buffer is None else 0
            raise

    def write(self, octets: bytes) -> int:
        """Send octets. Returns how many were taken."""
        return int(self._call(self._connection.send, octets))

    def pending(self) -> int:
        """Octets that a read gives without more of the peer; 1 where that is not known."""
        return self._connection.pending() or int(self._fed)

    def unwrap(self) -> None:
        """Say that nothing more comes, and wait for the same of the peer."""
        if not self._call(self._connection.shutdown) and not self._call(self._connection.shutdown):
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "the peer has not said so")

    def version(self) -> str:
        """The protocol that was agreed on."""
        return str(self._connection.get_protocol_version_name())

    def cipher(self) -> tuple[str, str, int] | None:
        """The cipher, its protocol and its bits. Returns None before the handshake."""
        name = self._connection.get_cipher_name()
        if name is None:
            return None
        return name, self._connection.get_cipher_version() or "", self._connection.get_cipher_bits() or 0

    def compression(self) -> None:
        """The compression: there is none."""

    def getpeercert(self) -> Mapping[str, Any]:
        """The names in a certificate that verifies, in the shape of the standard library. Returns nothing
        without one.
        """
        certificate = self._connection.get_peer_certificate(as_cryptography=True)
        if certificate is None or not self._verdict.complete or self._verdict.failure:
            return {}
        return {"subject": _subject(certificate), "subjectAltName": _other_names(certificate)}

    @property
    def unverified(self) -> str:
        """The reason why the certificate is no login; "" where it is one, and where none was shown."""
        if self._connection.get_peer_certificate(as_cryptography=True) is None:
            return ""
        return self._verdict.failure or ("" if self._verdict.complete else "not looked at")


def _subject(certificate: x509.Certificate) -> tuple[tuple[tuple[str, str], ...], ...]:
    common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return tuple((("commonName", str(attribute.value)),) for attribute in common)


def _other_names(certificate: x509.Certificate) -> tuple[tuple[str, str], ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return (
        *(("email", name) for name in names.get_values_for_type(x509.RFC822Name)),
        *(("DNS", name) for name in names.get_values_for_type(x509.DNSName)),
    )


class OptionalContext(ssl.SSLContext):
    """A context whose connections ask for a certificate and do without it.

    A kind of the standard library's context, because event loops take no other; what it makes is ours.
    """

    #: The context of pyOpenSSL.
    made: SSL.Context
    _by_name: Mapping[str, OptionalContext]

    def build(
        self, pairs: Iterable[tuple[Path, Path]], *, authorities: Path, minimum: str, ciphers: str
    ) -> None:
        """Read the certificates, and the authorities of clients.

        Raises:
            OSError, ValueError: one cannot be read; the words are those of the standard library where it
                finds the mistake, too.
        """
        made = self.made = SSL.Context(SSL.TLS_SERVER_METHOD)
        self._by_name = {}
        try:
            made.set_min_proto_version(_VERSIONS[minimum])
            made.set_cipher_list(ciphers.encode())
            made.set_options(
                SSL.OP_NO_COMPRESSION
                | SSL.OP_NO_RENEGOTIATION
                | SSL.OP_CIPHER_SERVER_PREFERENCE
                | SSL.OP_NO_TICKET
            )
            made.set_session_cache_mode(SSL.SESS_CACHE_OFF)
            for certificate, key in pairs:
                self.load_cert_chain(certificate, key)  # says what is wrong better
                made.use_certificate_chain_file(str(certificate))
                made.use_privatekey_file(str(key))
            made.load_verify_locations(str(authorities))
        except SSL.Error as exc:
            raise _convert(exc) from exc
        made.set_verify(SSL.VERIFY_PEER, _verify)

    def choose_by_name(self, contexts: Mapping[str, OptionalContext]) -> None:
        """Let the name in SNI choose another context, where one has that name."""
        self._by_name = contexts
        self.made.set_tlsext_servername_callback(self._choose)

    def _choose(self, connection: SSL.Connection) -> None:
        name = (connection.get_servername() or b"").decode("ascii", "replace").lower().rstrip(".")
        if (chosen := self._by_name.get(name)) is not None:
            connection.set_context(chosen.made)

    def wrap_bio(  # type: ignore[override]
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *_args: Any, **_options: Any
    ) -> OptionalConnection:
        """A new connection, as an event loop asks for it."""
        return OptionalConnection(self.made, incoming, outgoing)

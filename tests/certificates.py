"""Certificates for a test's servers and clients, signed by an authority of its own, and logins."""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID


class Papers:
    """A certificate authority, a server's and a client's certificate, and a users file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ca_key = ec.generate_private_key(ec.SECP256R1())
        self._ca = self._sign("Test CA", self._ca_key.public_key(), ca=True)
        self.ca = self._write("ca.pem", self._ca)
        self.certificate, self.key = self.issue("mx.test.example", "server")
        self.client_certificate, self.client_key = self.issue("legacy.test.example", "client")
        #: A client's certificate that nobody but itself has signed, as many mail servers have.
        self.unknown_certificate, self.unknown_key = self.issue("unknown.test.example", "unknown", own=True)
        self.users = folder / "users"
        quick = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
        self.users.write_text(f"# logins\n\nprinter:{quick.hash('s3cret')}\nbroken:$argon2id$nonsense\n")

    def issue(
        self, name: str, stem: str, *, rsa_bits: int = 0, days: int = 30, age: int = 9, own: bool = False
    ) -> tuple[Path, Path]:
        """A certificate and its key; elliptic, as most are now, unless RSA is asked for. With `own` the key
        signs itself; of less than no `days`, the certificate has expired, and of less than no `age` in days
        it is not valid yet.
        """
        key = (
            rsa.generate_private_key(65_537, rsa_bits)
            if rsa_bits
            else ec.generate_private_key(ec.SECP256R1())
        )
        path = self.folder / f"{stem}.key"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return self._write(
            f"{stem}.pem", self._sign(name, key.public_key(), days=days, age=age, own=key if own else None)
        ), path

    def _sign(
        self, name: str, public: Any, *, ca: bool = False, days: int = 30, age: int = 9, own: Any = None
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = subject if ca or own else self._ca.subject
        names: list[x509.GeneralName] = [x509.DNSName(name.replace(" ", "-"))]
        if not ca:
            names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=age))
            .not_valid_after(now + dt.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(own or self._ca_key, hashes.SHA256())
        )

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        path = self.folder / name
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path

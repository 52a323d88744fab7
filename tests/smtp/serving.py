"""What tests of the SMTP edge share: a real server on loopback in a thread, certificates, and waiting for conditions."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest
from argon2 import PasswordHasher
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from fake_spool import FakeSpool

from relay import telemetry
from relay.config.model import Config
from relay.smtp.listeners import Server, open_sockets

ROUTES = [
    {
        "match": [
            "support@example.com",
            "sales@example.com",
            "postmaster@example.com",
            "team*@example.com",
            "a%b@example.com",
        ]
    },
    {"match": ["@help.example.com"]},
    {"match": ["käse@münchen.example"]},
]


def until(what: Callable[[], Any], *, seconds: float = 10.0) -> Any:
    """The first truthy answer of `what`; AssertionError when the time is over."""
    end = time.monotonic() + seconds
    while not (answer := what()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s (last seen: {answer!r})")
        time.sleep(0.01)  # between two looks at the condition
    return answer


def new_loop(kind: str) -> asyncio.AbstractEventLoop:
    """An event loop of one of the kinds that the daemon runs on."""
    return pytest.importorskip("uvloop").new_event_loop() if kind == "uvloop" else asyncio.new_event_loop()


class Papers:
    """A certificate authority, a server's and a client's certificate, and a users file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ca_key = ec.generate_private_key(ec.SECP256R1())
        self._ca = self._sign("Test CA", self._ca_key.public_key(), ca=True)
        self.ca = self._write("ca.pem", self._ca)
        self.certificate, self.key = self.issue("mx.test.example", "server")
        self.client_certificate, self.client_key = self.issue("legacy.test.example", "client")
        self.users = folder / "users"
        quick = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
        self.users.write_text(f"# logins\n\nprinter:{quick.hash('s3cret')}\nbroken:$argon2id$nonsense\n")

    def issue(self, name: str, stem: str, *, rsa_bits: int = 0) -> tuple[Path, Path]:
        """A certificate and its key; elliptic, as most are now, unless RSA is asked for."""
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
        return self._write(f"{stem}.pem", self._sign(name, key.public_key())), path

    def _sign(self, name: str, public: Any, *, ca: bool = False) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = subject if ca else self._ca.subject
        names: list[x509.GeneralName] = [x509.DNSName(name.replace(" ", "-"))]
        if not ca:
            names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._ca_key, hashes.SHA256())
        )

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        path = self.folder / name
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path


def build_config(papers: Papers | None = None, **changes: Any) -> Config:
    """A configuration for tests; `changes` are whole tables, or keys of the top."""
    base: dict[str, Any] = {
        "hostname": "mx.test.example",
        "s3": {"bucket": "test-bucket"},
        "connect": {"instance_id": "00000000-0000-0000-0000-000000000000"},
        "routes": ROUTES,
        "listeners": [{"bind": "127.0.0.1:0", "tls": "starttls" if papers else "none"}],
    }
    if papers is not None:
        base["tls"] = {"certificate": str(papers.certificate), "key": str(papers.key)}
    return Config.model_validate(base | changes)


class Serving:
    """A server in a thread of its own, with a spool in memory."""

    def __init__(
        self, config: Config, *, spool: FakeSpool | None = None, loop: str = "asyncio", **options: Any
    ) -> None:
        telemetry.configure("json", "error")
        self.config = config
        self.spool = spool or FakeSpool()
        self._options = options
        self.sockets = {index: open_sockets(each) for index, each in enumerate(config.listeners)}
        self.ports = [opened[0].getsockname()[1] for opened in self.sockets.values()]
        self.loop = new_loop(loop)
        self.trouble: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _loop, context: self.trouble.append(context))
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.call(self._start())
        return self

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    async def _start(self) -> None:
        self.server = Server(config=self.config, intake=self.spool, **self._options)
        await self.server.start(self.sockets)

    def call(self, coroutine: Any, *, seconds: float = 30.0) -> Any:
        """Run a coroutine in the server's loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(seconds)

    def soon(self, function: Callable[[], Any]) -> None:
        """Run a function in the server's loop."""
        self.loop.call_soon_threadsafe(function)

    def connect(self, index: int = 0, *, source: str | None = None) -> socket.socket:
        """A new connection to a listener."""
        own = self.sockets[index][0]
        host = "::1" if own.family == socket.AF_INET6 else "127.0.0.1"
        return socket.create_connection(
            (host, self.ports[index]), timeout=10, source_address=(source, 0) if source else None
        )

    def __exit__(self, *_: object) -> None:
        self.spool.release_now(self.loop)
        self.call(self.server.drain(0.0))
        self.call(asyncio.sleep(0))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()
        assert self.trouble == []

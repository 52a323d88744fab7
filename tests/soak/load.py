"""The mix of a soak: mail servers of all manners, those that are none, and the book of what was promised."""

from __future__ import annotations

import contextlib
import random
import smtplib
import socket
import ssl
import threading
import time
from collections import Counter
from itertools import islice

from harness import build_mail, octets_of

from relay.sandbox.contacts import Contact
from relay.sandbox.service import Sandbox

SUPPORT, SALES = "support@example.com", "sales@example.com"
_TIMEOUT = 30.0


class Load:
    """Threads that together hand over so many mails a second."""

    def __init__(self, port: int, *, rate: float, threads: int = 6, seed: int = 1) -> None:
        self._port = port
        self._pause = threads / rate
        self._stop = threading.Event()
        #: (subject, destination) of all that got a 250.
        self.promised: set[tuple[str, str]] = set()
        #: Of each mail, when its data was begun (monotonic) and how long its 250 took, in seconds.
        self.waits: list[tuple[float, float]] = []
        #: What was done besides, by kind; mails that were refused for a while, and sent again.
        self.done: Counter[str] = Counter()
        self.errors: list[BaseException] = []
        self._context = ssl.create_default_context()
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._threads = [
            threading.Thread(target=self._run, args=(number, random.Random(seed * 100 + number)), daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Begin no new mail; return when each that was begun has its 250."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=180)
            assert not thread.is_alive(), "a mail was refused until the end"
        assert not self.errors, self.errors

    def _run(self, sender: int, rng: random.Random) -> None:
        try:
            number = 0
            while not self._stop.is_set():
                begun = time.monotonic()
                number += 1
                count = self._turn(rng, f"{sender}-{number}")
                pause = rng.uniform(0.2, 1.8) * max(count, 0.2) * self._pause
                self._stop.wait(max(0.0, pause - (time.monotonic() - begun)))
        except BaseException as exc:  # noqa: BLE001 - told to the test in finish()
            self.errors.append(exc)

    def _turn(self, rng: random.Random, name: str) -> int:
        """One session of chance. Returns how many mails it handed over."""
        kind = rng.choices(
            ("plain", "tls", "several", "twice", "both", "no handshake", "aborted", "unknown", "silent"),
            (40, 15, 10, 5, 8, 4, 6, 8, 4),
        )[0]
        self.done[kind] += 1
        with contextlib.suppress(OSError, smtplib.SMTPException):
            match kind:
                case "no handshake":
                    self._break_handshake()
                case "aborted":
                    self._abort()
                case "unknown":
                    self._ask_unknown()
                case "silent":
                    with socket.create_connection(("127.0.0.1", self._port), timeout=_TIMEOUT):
                        pass
        if kind in {"no handshake", "aborted", "unknown", "silent"}:
            return 0
        mails = [
            self._make(f"{name}-{number}", rng, (SUPPORT, SALES) if kind == "both" else (SUPPORT,))
            for number in range(rng.randint(2, 6) if kind == "several" else 1)
        ]
        if kind == "twice":
            mails *= 2
        self._hand_over(mails, tls=kind == "tls")
        return len(mails)

    def _make(self, name: str, rng: random.Random, to: tuple[str, ...]) -> tuple[str, tuple[str, ...], bytes]:
        size = rng.choices((0, 2_000, 20_000, 300_000), (850, 130, 17, 3))[0]
        file = b"%PDF-1.7\n" + rng.randbytes(size) if size else None
        mail = build_mail(name, attachment=file, to=", ".join(to))
        return str(mail["Subject"]), to, octets_of(mail)

    def _hand_over(self, mails: list[tuple[str, tuple[str, ...], bytes]], *, tls: bool) -> None:
        """Send each until it has its 250."""
        left = list(mails)
        while left:
            try:
                with smtplib.SMTP(
                    "127.0.0.1", self._port, timeout=_TIMEOUT, local_hostname="client.test"
                ) as client:
                    client.ehlo()
                    if tls:
                        client.starttls(context=self._context)
                        client.ehlo()
                    while left:
                        self._send(client, *left[0])
                        left.pop(0)
            except (OSError, smtplib.SMTPException) as exc:
                if isinstance(exc, smtplib.SMTPResponseException) and exc.smtp_code >= 500:
                    raise
                self.done["sent again"] += 1
                time.sleep(0.2)  # a mail server's retry

    def _send(self, client: smtplib.SMTP, subject: str, to: tuple[str, ...], octets: bytes) -> None:
        code, text = client.mail("ada@customer.example")
        if code != 250:
            raise smtplib.SMTPResponseException(code, text)
        for address in to:
            code, text = client.rcpt(address)
            if code != 250:
                raise smtplib.SMTPResponseException(code, text)
        begun = time.monotonic()
        code, text = client.data(octets)
        if code != 250:
            raise smtplib.SMTPResponseException(code, text)
        self.waits.append((begun, time.monotonic() - begun))
        self.promised.update((subject, address) for address in to)

    def _break_handshake(self) -> None:
        with smtplib.SMTP("127.0.0.1", self._port, timeout=_TIMEOUT) as client:
            client.ehlo()
            client.docmd("STARTTLS")
            assert client.sock
            client.sock.sendall(b"\x16\x03\x01\x00\x05hello" + bytes(40))
            client.sock.recv(100)
            client.close()

    def _abort(self) -> None:
        client = smtplib.SMTP("127.0.0.1", self._port, timeout=_TIMEOUT)
        client.ehlo()
        client.mail("ada@customer.example")
        client.rcpt(SUPPORT)
        client.docmd("DATA")
        client.send(b"Subject: never\r\n\r\n" + b"x" * 5_000)
        client.close()

    def _ask_unknown(self) -> None:
        with smtplib.SMTP("127.0.0.1", self._port, timeout=_TIMEOUT) as client:
            client.ehlo()
            client.mail("ada@customer.example")
            assert client.rcpt("guess@foreign.example")[0] == 550


class Arrivals:
    """The contacts as they come. Each is counted and then emptied, so that a day of them has room."""

    def __init__(self, box: Sandbox) -> None:
        self._box = box
        self._seen = 0
        self._open: list[Contact] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self.failed: list[str] = []

    def look(self) -> None:
        """Count what has come since the last look."""
        fresh = list(islice(self._box.book.select(), self._seen, None))
        self._seen += len(fresh)
        self._open += fresh
        for contact in fresh:
            request = contact.request
            subject = request["EmailMessage"]["RawMessage"]["Subject"]
            self.counts[subject, request["DestinationEmailAddress"]] += 1
        for contact in self._open:
            if contact.settled:
                self.failed += [file.error for file in contact.attachments if file.state == "failed"]
                contact.raw, contact.attachments = b"", ()
        self._open = [contact for contact in self._open if not contact.settled]

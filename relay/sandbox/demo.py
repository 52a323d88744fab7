"""The demo: real mails through the real relay, each shown as the contact that it became.

`python -m relay.sandbox.demo` starts everything on free loopback ports, sends the mails over SMTP, waits, and
compares each contact with what was sent. It exits 0 only if every mail arrived. With `--stay` it then says
where the page is that shows them, and stays up until it is told to stop.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import html
import re
import signal
import smtplib
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from relay.errors import RelayError
from relay.sandbox.configuration import sandbox_config, write_config
from relay.sandbox.daemon import open_daemon
from relay.sandbox.demo_mails import Mail, demo_mails, demo_records
from relay.sandbox.dns import open_dns
from relay.sandbox.service import Sandbox, settings_of
from relay.web.rendering import octets

#: Eight mails at Connect's default pace take a second; a slow machine may take many more.
WAIT_SECONDS = 60.0
_LABEL = 9


def main() -> int:
    """Run the demo. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="relay.sandbox.demo", description="Mails through the whole relay.")
    parser.add_argument("--stay", action="store_true", help="stay up afterwards, with the page")
    stays = parser.parse_args().stay
    with tempfile.TemporaryDirectory(prefix="relay-demo-") as place:
        try:
            return asyncio.run(run(Path(place), demo_mails(), stays=stays))
        except (RelayError, OSError, smtplib.SMTPException) as exc:
            log = Path(place) / "daemon.log"
            _say(f"demo: {exc}\n{log.read_text(encoding='utf-8') if log.exists() else ''}")
            return 1


async def run(place: Path, mails: Sequence[Mail], *, stays: bool = False) -> int:
    """Start, send, wait, show and compare; where it `stays`, wait until told to stop. Returns the exit
    code.
    """
    begun = time.monotonic()
    smtp = f"127.0.0.1:{free_port()}"
    with (place / "daemon.log").open("wb") as log:
        async with open_dns(demo_records()) as server:
            config = sandbox_config(
                smtp=smtp,
                data_dir=place / "data",
                admin="",
                server={"receivers": 1},
                listeners=[{"bind": smtp, "tls": "none"}],  # of role mx, which checks who sent a mail
                dns={"servers": [server]},
            )
            write_config(config, place / "relay.toml")
            async with (
                Sandbox(
                    settings=settings_of(config), bucket=config.s3.bucket, smtp=smtp, config=config
                ) as box,
                open_daemon(place / "relay.toml", box.environ(), stderr=log.fileno()),
            ):
                _say(
                    f"The relay listens at {smtp}; its Connect, its S3 and its DNS are simulated on this machine.\n"
                )
                await asyncio.to_thread(_send, smtp, mails)
                contacts = await _contacts(box, len(mails))
                wrong = _compare(mails, contacts)
                if not wrong:
                    seconds = time.monotonic() - begun
                    _say(
                        f"{len(mails)} mails sent, {len(contacts)} contacts: every one arrived. ({seconds:.1f} s)"
                    )
                if stays:
                    await _stay(box)
    if wrong:
        _say("\n".join(wrong))
        _say((place / "daemon.log").read_text(encoding="utf-8"))
        return 1
    return 0


async def _stay(box: Sandbox) -> None:
    """Wait until told to stop, once it is said where to look."""
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    _say(f"\nSee them at {box.http_url}/ and send more to {box.smtp}. Ctrl-C ends it.")
    await told.wait()


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _send(smtp: str, mails: Sequence[Mail]) -> None:
    host, _, port = smtp.partition(":")
    with smtplib.SMTP(host, int(port), timeout=30) as session:
        for mail in mails:
            session.sendmail(mail.sender, [mail.recipient], mail.octets)


async def _contacts(box: Sandbox, count: int) -> list[dict[str, Any]]:
    """The contacts, once there are enough and their attachments were fetched, or when time is up."""
    await box.until(count, WAIT_SECONDS)
    await asyncio.sleep(0.2)  # a contact too many would come now
    await box.settle(10.0)
    return box.contacts()


def _compare(mails: Sequence[Mail], contacts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Show each mail's contact. Returns what is wrong, a line each."""
    wrong = []
    if len(contacts) != len(mails):
        wrong.append(f"{len(mails)} mails were sent, {len(contacts)} contacts came")
    for number, mail in enumerate(mails, start=1):
        mine = [contact for contact in contacts if _raw(contact)["Subject"] == mail.subject]
        if len(mine) != 1:
            wrong.append(f'"{mail.subject}" became {len(mine)} contacts')
            continue
        _say(show(number, mail, mine[0]))
        wrong += [f'"{mail.subject}": {sentence}' for sentence in differences(mail, mine[0])]
    return wrong


def differences(mail: Mail, contact: Mapping[str, Any]) -> list[str]:
    """The differences between a mail and its contact."""
    request, body = contact["request"], _raw(contact)["Body"]
    found = []
    if mail.sentence not in body:
        found.append(f'"{mail.sentence}" is not in the body')
    if request["FromEmailAddress"]["EmailAddress"] != mail.sender:
        found.append(f"it comes from {request['FromEmailAddress']['EmailAddress']}, not {mail.sender}")
    if request["DestinationEmailAddress"] != mail.recipient:
        found.append(f"it went to {request['DestinationEmailAddress']}, not {mail.recipient}")
    fetched = {file["sha256"] for file in contact["attachments"]}
    found += [
        f"Connect could not fetch {file['name']}" for file in contact["attachments"] if not file["sha256"]
    ]
    found += [
        f"{name} is neither attached nor named in the body"
        for name, digest in mail.files
        if digest not in fetched and name not in html.unescape(body)
    ]
    found += [
        "a picture is not drawn in the body"
        for picture in mail.pictures
        if base64.b64encode(picture).decode("ascii") not in body
    ]
    told = request.get("Attributes", {}).get("relay_identity", "nothing")
    if not told.startswith(mail.identity):
        found.append(f'an agent reads "{told}", not "{mail.identity}"')
    return found


def show(number: int, mail: Mail, contact: Mapping[str, Any]) -> str:
    """A contact in a few lines."""
    request, raw = contact["request"], _raw(contact)
    sender, attributes = request["FromEmailAddress"], request.get("Attributes", {})
    digests = {digest for _, digest in mail.files}
    lines = [f"{number}. {raw['Subject']}   ({mail.about})"]
    lines.append(_line("from", f"{sender.get('DisplayName', '')} <{sender['EmailAddress']}>".strip()))
    lines.append(_line("to", request["DestinationEmailAddress"]))
    lines.append(_line("body", f"{raw['ContentType']}: {_beginning(raw['Body'])}"))
    for file in contact["attachments"]:
        same = "as sent" if file["sha256"] in digests else "made by the relay"
        lines.append(
            _line(
                "file",
                f"{file['name']}  {octets(file['size'])}  sha256 {(file['sha256'] or '?')[:16]}…  {same}",
            )
        )
    for key, value in raw.get("Headers", {}).items():
        if key in ("IN_REPLY_TO", "REFERENCES"):
            lines.append(_line("header", f"{key} {value}"))
    if identity := attributes.get("relay_identity"):
        lines.append(_line("sender", identity))
    if adaptations := attributes.get("relay_adaptations"):
        lines.append(_line("adapted", adaptations))
    lines.append(_line("contact", contact["contact_id"]))
    return "\n".join(lines) + "\n"


def _raw(contact: Mapping[str, Any]) -> dict[str, Any]:
    raw: dict[str, Any] = contact["request"]["EmailMessage"]["RawMessage"]
    return raw


def _beginning(body: str) -> str:
    """The first words of a body, without markup."""
    words = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())
    return words if len(words) <= 160 else f"{words[:160]}…"


def _line(label: str, text: str) -> str:
    return f"   {label:<{_LABEL}}{text}"


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 # it speaks to a person


if __name__ == "__main__":
    sys.exit(main())

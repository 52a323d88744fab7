"""A real daemon that reads its instance's settings: used, told, missed, and kept over a restart."""

from __future__ import annotations

import signal
import smtplib
from dataclasses import replace
from email.message import EmailMessage

import pytest
from harness import Daemon, until

from relay.config.builtin import INSTANCE_ID
from relay.config.discovered import Discovered
from relay.config.remembered import DiscoveredFile

pytestmark = pytest.mark.process


def send_zip(daemon, word):
    """Send a mail with a zip to a route that refuses what its instance does not take."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "a@example.org", "support@example.com", word
    mail["Message-ID"] = f"<{word}@example.org>"
    mail.set_content("Hello")
    mail.add_attachment(b"PK\5\6" + bytes(18), maintype="application", subtype="zip", filename="a.zip")
    with smtplib.SMTP("127.0.0.1", daemon.port, timeout=30) as client:
        client.send_message(mail)


@pytest.fixture
def settings(box):
    """The simulated instance takes zip, too; what a test sets is undone."""
    before = box.connect.settings
    box.connect.settings = replace(before, extensions=(*before.extensions, "zip"))
    yield before
    box.connect.settings = before


def test_a_daemon_goes_by_its_instance(box, settings, ear, tmp_path):
    """A start that may not ask goes by what an earlier one has read: a zip is accepted on a strict route, and
    attached. Once it may ask, differences are told; an address that vanishes is an alarm without any mail,
    and its return is the end of it.
    """
    url, heard = ear
    env = box.environ() | {
        "RELAY_CONNECT__DISCOVER": "true",
        "RELAY_ROUTES__0__DISALLOWED_TYPES": "reject",
        "RELAY_ALARMS__WEBHOOK": f"{url}/hook",
        "RELAY_ALARMS__EVERY_SECONDS": "0.2",
    }
    box.chaos(connect={"deny": 1})
    daemon = Daemon(tmp_path, env=env)
    daemon.data_dir.mkdir(mode=0o700)
    known = Discovered(extensions=tuple(sorted(box.connect.settings.extensions)))
    assert DiscoveredFile(daemon.data_dir).save({INSTANCE_ID: known})
    with daemon.start():
        assert daemon.wait_for("instance.unread")["code"] == "AccessDeniedException"
        send_zip(daemon, "first")
        (contact,) = until(box.contacts)
        assert [each["name"] for each in contact["attachments"]] == ["a.zip"]
        box.chaos({})
        box.connect.settings = replace(box.connect.settings, addresses=lambda _: ["support@example.com"])
        daemon.process.send_signal(signal.SIGHUP)
        told = daemon.wait_for("instance.differs")
        assert told["differences"] == ["it takes zip, which the configuration does not have"]
        until(lambda: heard["hook"])
        box.connect.settings = replace(box.connect.settings, addresses=settings.addresses)
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: len(heard["hook"]) == 2)
    assert [(each["alarm"], each["subject"], each["raised"]) for each in heard["hook"]] == [
        ("address_missing", "sales@example.com", True),
        ("address_missing", "sales@example.com", False),
    ]

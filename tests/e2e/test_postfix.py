"""A real Postfix, as a company runs it, hands its mail on to the relay."""

from __future__ import annotations

import os
import shutil
import smtplib
import subprocess
from pathlib import Path

import pytest
from harness import Daemon, build_mail, free_port, sha256, subjects, until

from relay.config.builtin import builtin_config
from relay.sandbox.service import running_sandbox, settings_of

POSTFIX = shutil.which("postfix") or ("/usr/sbin/postfix" if Path("/usr/sbin/postfix").exists() else None)
pytestmark = [
    pytest.mark.skipif(not POSTFIX, reason="needs the Debian package postfix"),
    pytest.mark.skipif(os.geteuid() != 0, reason="Postfix's master runs as root only"),
]

MAIN_CF = """
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
mail_owner = postfix
setgid_group = postdrop
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = legacy.test
mydestination =
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{relay}
smtp_host_lookup = native
smtp_tls_security_level = may
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = permit_mynetworks, reject
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
maillog_file = {home}/log/maillog
maillog_file_prefixes = {home}
import_environment = MAIL_CONFIG MAIL_LOGTAG
"""
MASTER_CF = """
127.0.0.1:{port} inet n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""


@pytest.fixture
def postfix(tmp_path, daemon):
    """A Postfix of its own configuration, queue and port that sends everything to the relay."""
    home = tmp_path / "postfix"
    for name in ("etc", "queue", "data", "log"):
        (home / name).mkdir(parents=True)
    for parent in (home, *home.parents):  # Postfix's own user must reach its queue
        if parent.is_relative_to("/tmp") and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o011)
    shutil.chown(home / "data", "postfix")
    port = free_port()
    (home / "etc/main.cf").write_text(MAIN_CF.format(home=home, relay=daemon.port))
    (home / "etc/master.cf").write_text(MASTER_CF.format(port=port))
    subprocess.run([POSTFIX, "-c", str(home / "etc"), "start"], check=True, capture_output=True)
    yield port, home
    subprocess.run([POSTFIX, "-c", str(home / "etc"), "stop"], check=True, capture_output=True)


@pytest.fixture
def box():
    settings = settings_of(builtin_config(), requests_per_second=1_000.0, burst=1_000)
    with running_sandbox(settings=settings) as sandbox:
        yield sandbox


@pytest.fixture
def daemon(box, tmp_path):
    with Daemon(tmp_path, env=box.environ()).start() as running:
        yield running


def test_postfix_forwards(box, daemon, postfix):
    """A mail given to Postfix arrives as a contact, its file whole, and Postfix's queue is empty afterwards."""
    port, home = postfix
    file = b"%PDF-1.7\n" + bytes(range(256)) * 100

    def submit():
        with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
            client.send_message(build_mail("by Postfix", attachment=file), to_addrs=["support@example.com"])
        return True

    submit()
    (contact,) = until(box.contacts, so=(home / "log/maillog").read_text())
    assert subjects([contact]) == ["Mail by Postfix"]
    until(lambda: box.contacts()[0]["attachments"])
    assert box.contacts()[0]["attachments"][0]["sha256"] == sha256(file)
    accepted = daemon.wait_for("transaction.accepted")
    assert accepted["helo"] == "legacy.test"
    until(lambda: f"queued as {accepted['spool_id']}" in (home / "log/maillog").read_text())


def test_postfix_keeps_its_mail_while_the_relay_is_away(box, daemon, postfix):
    """Mail that comes while the relay is dead waits in Postfix, and is one contact each when it is back."""
    port, home = postfix
    daemon.kill()
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        for number in range(5):
            client.send_message(build_mail(number), to_addrs=["support@example.com"])
    until(lambda: "Connection refused" in (home / "log/maillog").read_text())
    daemon.start()
    until(lambda: len(box.contacts()) >= 5)
    assert sorted(subjects(box.contacts())) == [f"Mail {number}" for number in range(5)]

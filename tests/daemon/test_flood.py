"""A flood under the real daemon: whoever floods waits for himself, and his neighbours do not."""

from __future__ import annotations

import smtplib
import socket

import pytest
from harness import CONFIG, Daemon, build_mail, subjects, until

pytestmark = pytest.mark.process

FLOOD = 100
#: Contacts before the innocent one: what may be under way at once, twice over.
FEW = 20


def send_all(port, senders, mails, *, peer=None) -> None:
    """The mails in one session, each from the sender of its place; behind a PROXY header when a peer is
    named.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        if peer is not None:
            connection.sendall(f"PROXY TCP4 {peer} 127.0.0.1 4711 25\r\n".encode())
        client = smtplib.SMTP(local_hostname="client.test", timeout=30)
        client.sock = connection
        assert client.getreply()[0] == 220
        for sender, mail in zip(senders, mails, strict=True):
            client.sendmail(sender, ["support@example.com"], mail.as_bytes().replace(b"\n", b"\r\n"))


@pytest.mark.parametrize("role", ["mx", pytest.param("trusted", marks=pytest.mark.long)])
def test_innocent_mail_behind_a_flood_is_among_the_first_contacts(box, tmp_path, role):
    """A hundred mails wait, of one network or (through a trusted relay) of one domain, and then one of
    another.

    On `mx` the flooder has addresses and domains enough; behind the trusted relay, local parts.
    """
    text = CONFIG.replace('role = "trusted"', 'role = "mx"\nproxy_protocol = ["127.0.0.1/32"]')
    config = (text if role == "mx" else CONFIG).format(
        data_dir=tmp_path / "spool", port="{port}", extra="", receivers=1, rate=100, burst=5
    )
    daemon = Daemon(tmp_path, env=box.environ(), config="")
    daemon.config_path.write_text(config.replace("{port}", str(daemon.port)))
    with daemon.start():
        assert daemon.run("pause", "delivery").returncode == 0
        flood = [build_mail(number) for number in range(FLOOD)]
        innocent = [build_mail("of another")]
        if role == "mx":
            for at in range(0, FLOOD, 20):
                senders = [f"x@d{at + n}.example" for n in range(20)]
                send_all(daemon.port, senders, flood[at : at + 20], peer=f"198.51.100.{at}")
            send_all(daemon.port, ["ann@customer.example"], innocent, peer="192.0.2.7")
        else:
            senders = [f"{n}@flood.example" for n in range(FLOOD)]
            send_all(daemon.port, [*senders, "ann@customer.example"], [*flood, *innocent])
        assert daemon.run("resume", "delivery").returncode == 0
        told = until(lambda: "Mail of another" in (told := subjects(box.contacts())) and told)
        assert told.index("Mail of another") < FEW
        assert daemon.stop() == 0

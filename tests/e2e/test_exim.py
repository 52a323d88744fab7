"""A real Exim, as a Debian server has it, hands its mail on to the relay."""

from __future__ import annotations

import re

import pytest
from exim import MISSING, PROGRAM, Exim
from harness import Daemon, build_mail, sha256, subjects

pytestmark = [pytest.mark.system, pytest.mark.skipif(PROGRAM is None, reason=MISSING)]

#: The whole certificate is looked at, the name in it too: Exim delivers nothing in clear, and to nobody else.
TLS = "hosts_require_tls = *\n  tls_verify_hosts = *\n  tls_verify_certificates = {ca}\n  {more}"


def mails():
    """An ordinary one, one of 8-bit octets, one that is mostly dots, and one of three megabytes."""
    eight_bit = build_mail("in Köln")
    eight_bit.set_content("Wir warten noch immer auf das Paket für Köln.\n", cte="8bit")
    dots = build_mail("of dots")
    dots.set_content(".\n..\n" * 20_000 + "\n.end\n", cte="7bit")
    large = build_mail("of some size", attachment=b"%PDF-1.7\n" + bytes(range(256)) * 12_000)
    return [build_mail("of every day"), eight_bit, dots, large]


@pytest.mark.parametrize(("more", "chunks"), [("", True), ("hosts_try_chunking =", False)])
def test_exim_forwards(box, tmp_path, home, papers, secured, more, chunks):
    """Mails go over STARTTLS, with BDAT as Exim likes it and with DATA, and are contacts that name the
    cipher.
    """
    sent = mails()
    with secured(Daemon(tmp_path, env=box.environ())).start() as daemon:
        exim = Exim(home / "exim", port=daemon.port, transport=TLS.format(ca=papers.ca, more=more))
        for mail in sent:
            exim.send(mail.as_bytes(), "support@example.com")
            exim.run_queue()  # one by one, so that the order of their sessions is known
        assert exim.log().count(" Completed") == len(sent), exim.log()
        found = box.wait(len(sent))
        taken = [event for event in daemon.events if event["event"] == "transaction.accepted"]
    by_subject = {subjects([contact])[0]: contact for contact in found}  # they become contacts side by side
    assert len(found) == len(sent)
    found = [by_subject[str(mail["Subject"])] for mail in sent]
    for mail, contact in zip(sent, found, strict=True):
        body = contact["request"]["EmailMessage"]["RawMessage"]["Body"]
        (text, *files) = [part for part in mail.walk() if not part.is_multipart()]
        assert body.split() == text.get_content().split()
        assert [file["sha256"] for file in contact["attachments"] if file["name"].endswith("pdf")] == [
            sha256(file.get_content()) for file in files
        ]
        assert contact["request"]["Attributes"]["relay_tls"].startswith("TLSv1.3 ")
        assert contact["request"]["Attributes"]["relay_helo"] == "legacy.test"
    delivered = [line for line in exim.log().splitlines() if " => " in line]
    assert [re.search(r'queued as (\w+)"', line)[1] for line in delivered] == [
        event["spool_id"] for event in taken
    ]
    assert all(" X=TLS1.3:" in line and " CV=yes " in line for line in delivered)
    assert all((" K " in line) == chunks for line in delivered)


def test_exim_over_lmtp(box, tmp_path, home, secured):
    """Exim's LMTP hears of each recipient: two have the mail, the third is refused and bounces at Exim."""
    with secured(
        Daemon(tmp_path, env=box.environ()), tls="none", listener='protocol = "lmtp"\n'
    ).start() as daemon:
        exim = Exim(home / "exim", port=daemon.port, protocol="lmtp")
        exim.send(
            build_mail("for three").as_bytes(),
            "support@example.com",
            "sales@example.com",
            "nobody@elsewhere.example",
            sender="",
        )
        exim.run_queue()
        found = box.wait(2)
    assert {contact["request"]["DestinationEmailAddress"] for contact in found} == {
        "support@example.com",
        "sales@example.com",
    }
    refused = next(line for line in exim.log().splitlines() if " ** " in line)
    assert "550 5.7.1 Not our domain; we do not relay [" in refused

"""A quota that finished mail fills, under the real daemon: nobody is put off for long."""

from __future__ import annotations

import smtplib

import pytest
from harness import Daemon, build_mail, send, until

pytestmark = pytest.mark.process

#: Five of these are the quota.
LARGE = bytes(range(256)) * 1_600
QUOTA = 5 * 600_000


def test_finished_mail_makes_room_for_new_mail(box, tmp_path):
    """Four times the quota goes through, for what is done goes within a second or two, days before
    its time.
    """
    env = box.environ() | {"RELAY_SPOOL__MAX_BYTES": str(QUOTA)}
    with Daemon(tmp_path, env=env).start() as daemon:
        codes = set()
        for number in range(20):

            def taken(number: int = number) -> bool:
                try:
                    send(daemon.port, build_mail(number, attachment=LARGE))
                except smtplib.SMTPResponseException as exc:
                    codes.add(exc.smtp_code)
                    return False
                return True

            until(taken, seconds=10, so=f"mail {number} is taken")
        until(lambda: len(box.book) == 20, so="all of them")
        daemon.wait_for("spool.expired", early=True)
        assert codes <= {452}
        assert daemon.stop() == 0

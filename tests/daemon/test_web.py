"""The process of the page: beside the halves, off by default, and never in the way of mail."""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request

import pytest
from argon2 import PasswordHasher
from harness import Daemon, build_mail, free_port, send, until

# seconds on an idle machine; a busy one starts Python slowly
pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]

HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture
def daemon(box, tmp_path):
    with Daemon(tmp_path, env=box.environ(), extra="[web]\nbind = []\n") as made:
        made.config_path.write_text(
            made.config_path.read_text().replace("drain_seconds = 10", "drain_seconds = 10\nhang_seconds = 2")
        )
        yield made


def ask(bind, token="good", path="/"):
    """Status, server and text of a page, for Alice or (token "") for nobody."""
    request = urllib.request.Request(f"http://{bind}{path}")
    if token:
        request.add_header("Authorization", f"Bearer alice:{token}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers["Server"], answer.read().decode()
    except urllib.error.HTTPError as exc:
        return exc.code, exc.headers["Server"], exc.read().decode()


def children(daemon):
    """The pids of the page's processes that were started."""
    return [
        event["pid"]
        for event in daemon.events
        if event.get("event") == "child.started" and event["child"] == "web"
    ]


def reload(daemon, *keys):
    """Go on with these keys in `[web]`."""
    head, _, rest = daemon.config_path.read_text().partition("[web]\n")
    daemon.config_path.write_text("\n".join([f"{head}[web]", *keys, rest[rest.index("[[routes]]") :]]))
    daemon.forget()
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("config.reloaded")


def test_page_comes_and_goes_and_mail_does_not_notice(daemon, box, tmp_path):
    """Off, nothing runs. A reload turns the page on, changes it and turns it off; a crash, a hang and a taken
    port are its own affair: the daemon is ready all the while, and mail arrives.
    """
    users = tmp_path / "page-users"
    users.write_text(f"alice:{HASHER.hash('good')}\n")
    daemon.start()
    assert children(daemon) == []
    assert 'process="web"' not in daemon.ask("metrics")[1]

    port, keys = free_port(), f'users_file = "{users}"'
    reload(daemon, f'bind = "127.0.0.1:{port}"', keys)
    bind = daemon.wait_for("web.opened")["bind"]
    assert bind == f"127.0.0.1:{port}"
    send(daemon.port, build_mail("To be seen"))
    assert box.wait(1)
    until(lambda: "To be seen" in ask(bind)[2])
    assert ask(bind, "")[:2] == (401, "connect-mail-relay")
    assert ask(bind, "", "/livez") == (200, "connect-mail-relay", "ok\n")
    checked = daemon.run("check", "--offline", "--as-is").stdout
    assert f"ok    page {bind}: a relay answers" in checked
    assert f"ok    page: read-only, without words of mails, for 1 person of {users}" in checked
    assert ask(bind, "bad")[0] == 401
    assert 'relay_web_logins_total{process="web",result="wrong"} 1.0' in daemon.ask("metrics")[1]

    (first,) = children(daemon)
    reload(daemon, f'bind = ["127.0.0.1:{port}", "127.0.0.1:0"]', keys, "content = true")
    other = daemon.wait_for("web.opened")["bind"]
    assert other != bind
    assert ask(other)[0] == ask(bind)[0] == 200
    assert children(daemon) == [first], "a reload leaves the process as it is"

    for end in (signal.SIGKILL, signal.SIGSTOP):
        daemon.forget()
        os.kill(children(daemon)[-1], end)
        daemon.wait_for("child.ended", child="web", expected=False)
        assert daemon.ask("readyz")[0] == 200
        daemon.wait_for("web.opened", bind=bind)
        assert ask(bind)[0] == 200
    assert not [each for each in daemon.events if each.get("event") == "alarm.raised"]

    reload(daemon, f'bind = ["127.0.0.1:{daemon.port}"]', keys)
    assert "web.bind" in daemon.wait_for("web.refused")["why"]
    assert ask(bind)[0] == 200, "what served before goes on"
    reload(daemon, "bind = []")
    daemon.wait_for("child.ended", child="web", expected=True)
    with pytest.raises(OSError, match="refused"):
        ask(bind)
    assert daemon.ask("readyz")[0] == 200
    assert daemon.stop() == 0

"""Listeners with several addresses: IPv4 beside IPv6, on a machine that has both and on one that has not, and
sockets that systemd hands over.
"""

from __future__ import annotations

import asyncio
import json
import os
import smtplib
import socket
import sys
from pathlib import Path

import pytest
import without_ipv6
from harness import Daemon, build_mail, free_port, octets_of, until
from structlog.testing import capture_logs

from relay.config.builtin import builtin_config
from relay.config.listener import list_places
from relay.daemon.sockets import name_of, open_all, share_out

CONFIG = """
hostname = "mx.test.example"
data_dir = "{home}/spool"
[[listeners]]
bind = {bind}
tls = "none"
{listener}
[spool]
min_free_bytes = 0
[s3]
bucket = "relay-sandbox"
[connect]
instance_id = "5eed0b0c-5a4d-4b0c-9c0d-0123456789ab"
[admin]
bind = ["127.0.0.1:0"{admin}]
[log]
format = "json"
level = "debug"
[[routes]]
match = ["support@example.com"]
"""
ONLY = "this machine has no IPv6"


def receiver(home: Path, bind: str, *, listener: str = "", admin: str = "") -> Daemon:
    """The receiving half with a listener at these addresses, as TOML has them."""
    config = CONFIG.format(home=home, bind=bind, listener=listener, admin=admin)
    daemon = Daemon(home, env=dict(os.environ), config=config)
    daemon.args = ["--role", "receive"]
    return daemon


def both(host4: str, host6: str) -> tuple[int, str]:
    """A free port, and it at two addresses."""
    port = free_port()
    return port, f'["{host4}:{port}", "[{host6}]:{port}"]'


def names(daemon: Daemon, event: str) -> list[str]:
    return sorted(line["bind"] for line in daemon.events if line["event"] == event)


def deliver(host: str, port: int, number: str) -> int:
    """Send a mail there. Returns the code of the reply."""
    with smtplib.SMTP(host, port, timeout=20, local_hostname="client.test") as client:
        client.ehlo()
        client.mail("ada@customer.example")
        client.rcpt("support@example.com")
        return client.data(octets_of(build_mail(number)))[0]


@pytest.mark.process
def test_listener_takes_mail_at_each_of_its_addresses(tmp_path):
    """Logs and `relay check` name the address, health is served at each of its own, and a reload of the same
    addresses in another spelling changes nothing.
    """
    port, bind = both("127.0.0.1", "::1")
    with receiver(tmp_path, bind, admin=', "[::1]:0"').start() as daemon:
        wanted = [f"127.0.0.1:{port}", f"[::1]:{port}"]
        assert names(daemon, "listener.opened") == wanted
        assert [deliver(host, port, host) for host in ("127.0.0.1", "::1")] == [250, 250]
        until(
            lambda: (
                [line["listener"] for line in daemon.events if line["event"] == "session.opened"] == wanted
            )
        )
        assert [name.rpartition(":")[0] for name in names(daemon, "admin.opened")] == ["127.0.0.1", "[::1]"]
        said = daemon.run("check").stdout
        assert [f"ok    listener {name}: a relay answers" in said for name in wanted] == [True, True]
        text = daemon.config_path.read_text()
        daemon.config_path.write_text(text.replace("[::1]", "[0:0::1]"))
        daemon.process.send_signal(1)
        daemon.wait_for("config.reloaded")
        daemon.config_path.write_text(text.replace(f', "[::1]:{port}"', ""))
        daemon.process.send_signal(1)
        assert daemon.wait_for("config.refused")["why"] == [
            "listeners: a change here needs a restart; nothing was reloaded"
        ]
        assert deliver("::1", port, "still") == 250
        assert daemon.stop() == 0


@pytest.mark.process
@pytest.mark.skipif(not without_ipv6.is_possible(), reason="the number of socket(2) is not known here")
@pytest.mark.parametrize("host6", ["::", pytest.param("::1", marks=pytest.mark.long)])
def test_machine_without_ipv6_starts_and_warns(tmp_path, host6):
    """The listener takes mail by IPv4; log and `relay check` say which address stays closed, and why."""
    port, bind = both("127.0.0.1", host6)
    daemon = receiver(tmp_path, bind)
    lacking = [sys.executable, without_ipv6.__file__]
    daemon.program = [*lacking, *daemon.program]
    with daemon.start():
        left_out = daemon.wait_for("listener.left_out")
        assert (left_out["bind"], left_out["why"]) == (f"[{host6}]:{port}", ONLY)
        assert names(daemon, "listener.opened") == [f"127.0.0.1:{port}"]
        assert deliver("127.0.0.1", port, "by IPv4") == 250
        line = daemon._line
        daemon._line = lambda *words: [*lacking, *line(*words)]
        said = daemon.run("check").stdout
        assert f"warn  listener [{host6}]:{port}: {ONLY}; the listener starts without it" in said
        assert daemon.stop() == 0


@pytest.mark.process
@pytest.mark.skipif(not without_ipv6.is_possible(), reason="the number of socket(2) is not known here")
def test_listener_of_ipv6_alone_needs_ipv6(tmp_path):
    """A listener that would take no mail at all is a mistake of the configuration, not a warning."""
    daemon = receiver(tmp_path, f'["[::1]:{free_port()}", "[::1]:{free_port()}"]')
    daemon.program = [sys.executable, without_ipv6.__file__, *daemon.program]
    with daemon.start(wait=False):
        assert daemon.process.wait(30) == 2
        assert names(daemon, "listener.opened") == []
        assert "listeners[0].bind" in daemon.log()
        assert "Address family not supported by protocol" in daemon.log()


@pytest.mark.process
def test_second_address_that_is_taken_is_a_mistake(tmp_path):
    """Each address of a list is opened, or the start ends with its sentence: a typing error in the second is
    not found out by a customer.
    """
    daemon = receiver(tmp_path, f'["127.0.0.1:{free_port()}", "192.0.2.1:25"]')  # RFC 5737: nobody's
    with daemon.start(wait=False):
        assert daemon.process.wait(30) == 2
        assert names(daemon, "listener.opened") == []
        assert 'listeners[0].bind = "192.0.2.1:25": cannot be opened' in daemon.log()


def handed(family: socket.AddressFamily, port: int = 0, *, both: bool = False) -> socket.socket:
    """A listening socket as systemd hands it over."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
    sock.bind(("::" if both else "::1" if family == socket.AF_INET6 else "127.0.0.1", port))
    sock.listen()
    return sock


def start_with(daemon: Daemon, socks: list[socket.socket]) -> None:
    """Start a daemon with sockets from descriptor 3 on (sd_listen_fds(3)), and a LISTEN_PID of its own."""
    # Two rounds, since a target may be another's source.
    script = (
        f"import os, sys\nfar = [os.dup2(fd, 900 + n) for n, fd in enumerate({[s.fileno() for s in socks]})]\n"
        "for n, fd in enumerate(far):\n    os.dup2(fd, 3 + n)\n    os.close(fd)\n"
        f"os.environ.update(LISTEN_FDS='{len(socks)}', LISTEN_PID=str(os.getpid()))\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    daemon.program = [sys.executable, "-c", script, *daemon.program]
    daemon.start(pass_fds=[sock.fileno() for sock in socks])


V4, V6 = socket.AF_INET, socket.AF_INET6
#: Sockets that systemd hands over for a list of both families, and what is opened and left out.
BY_SYSTEMD = {
    "each": ([V4, V6], ["127.0.0.1", "[::1]"], []),
    "IPv4 alone": ([V4], ["127.0.0.1"], ["[::1]"]),  # a relay.socket of an earlier version
    "IPv6 alone": ([V6], ["[::1]"], ["127.0.0.1"]),
    "one for both": (["both"], ["[::]"], []),  # ListenStream=25, without BindIPv6Only=
}


@pytest.mark.parametrize(("families", "opened", "left_out"), BY_SYSTEMD.values(), ids=BY_SYSTEMD)
async def test_sockets_of_systemd_are_shared_out(families, opened, left_out):
    """Each socket goes to the address of its family, and nothing is opened beside those of systemd."""
    port, bind = both("127.0.0.1", "::1")
    socks = [handed(V6, port, both=True) if one == "both" else handed(one, port) for one in families]
    config = builtin_config(listeners=[{"bind": json.loads(bind), "tls": "none"}])
    with capture_logs() as logs:
        found = await open_all(config, socks, stopping=asyncio.Event())
    try:
        assert sorted(name_of(sock) for each in found.values() for sock in each) == sorted(
            f"{host}:{port}" for host in opened
        )
        told = [line["bind"] for line in logs if line["event"] == "listener.left_out"]
        assert told == [f"{host}:{port}" for host in left_out]
    finally:
        for sock in socks:
            sock.close()


@pytest.mark.process
@pytest.mark.parametrize(
    ("families", "opened", "left_out"),
    [
        pytest.param(*case, id=name, marks=[] if name == "IPv4 alone" else pytest.mark.long)
        for name, case in BY_SYSTEMD.items()
    ],
)
def test_sockets_of_systemd_for_a_list(tmp_path, families, opened, left_out):
    """Each socket goes to the address of its family; an address without a socket is told, and is not opened
    beside those of systemd.
    """
    port, bind = both("127.0.0.1", "::1")
    socks = [handed(V6, port, both=True) if one == "both" else handed(one, port) for one in families]
    daemon = receiver(tmp_path, bind)
    with daemon:
        start_with(daemon, socks)
        for sock in socks:
            sock.close()
        assert names(daemon, "listener.opened") == [f"{host}:{port}" for host in opened]
        assert names(daemon, "listener.left_out") == [f"{host}:{port}" for host in left_out]
        hosts = ["127.0.0.1", "::1"] if opened == ["[::]"] else [host.strip("[]") for host in opened]
        assert [deliver(host, port, host) for host in hosts] == [250] * len(hosts)
        assert daemon.stop() == 0


def test_sockets_of_other_ports_go_to_listeners_in_order():
    """Ports that the file does not name go to the listeners without a socket: the first port to the first; a
    socket for which no listener is left is closed, so that no peer waits at it for ever.
    """
    listeners = [
        {"bind": ["127.0.0.1:2501", "[::1]:2501"]},
        {"bind": "127.0.0.1:2502", "role": "trusted"},
        {"bind": "127.0.0.1:2503", "role": "trusted"},
    ]
    places = list_places(builtin_config(listeners=[{"tls": "none", **each} for each in listeners]).listeners)
    first, second = handed(V4), handed(V4)
    third = handed(V6, first.getsockname()[1])
    spare = [handed(V4), handed(V4)]
    shared = share_out(places, [third, first, second, *spare])
    assert shared == {0: [first], 1: [third], 2: [second], 3: [spare[0]]}
    assert spare[1].fileno() == -1
    for sock in (first, second, third, spare[0]):
        sock.close()


def test_default_takes_both_families():
    """A file without listeners takes mail at port 25 by IPv4 and IPv6; relay.socket hands over just these."""
    config = builtin_config()
    assert config.listeners[0].bind == ("0.0.0.0:25", "[::]:25")
    unit = (Path(__file__).parents[2] / "systemd" / "relay.socket").read_text().splitlines()
    lines = [line.removeprefix("ListenStream=") for line in unit if line.startswith("ListenStream=")]
    assert tuple(lines) == config.listeners[0].bind
    assert "BindIPv6Only=ipv6-only" in unit

"""The unit of systemd as `relay check` reads it: its user, its environment, and the places that it hides."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from relay.check import Service, examine
from relay.check.ports import examine_ports
from relay.check.sandboxing import examine_places
from relay.check.service import find_service
from relay.check.socket_unit import find_socket_unit
from relay.check.unit import find_unit, list_folders, read_environment, read_section, split_words
from relay.cli import main
from relay.config.builtin import builtin_config
from relay.timing import utc_now

ROOT = Path(__file__).parent.parent.parent
OURS = {"SYSTEMD_UNIT_PATH": str(ROOT / "systemd")}


def test_our_own_unit_is_read():
    """All that the examination needs stands in systemd/relay.service."""
    unit = find_unit(environ=OURS)
    assert (unit.user, unit.group, unit.may_bind) == ("relay", "relay", True)
    assert unit.command == ("/opt/relay/bin/relay", "serve", "--config", "/etc/relay/relay.toml")
    assert unit.environment_files == ((Path("/etc/relay/environment"), True),)
    assert unit.state_directories == (Path("/var/lib/relay"),)
    assert set(unit.environment) == {"BOOT_ID"}
    assert "%" not in unit.environment["BOOT_ID"]


def test_drop_ins_are_laid_over_the_unit(tmp_path):
    """They count in the order of their names; an empty value forgets a list, the first folder wins a name."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        (folder / "relay.service.d").mkdir(parents=True)
    (second / "relay.service").write_text(
        "[Unit]\nUser=nobody\n[Service]\nUser=relay\nEnvironmentFile=/a\nEnvironmentFile=-/b\n# no\n"
        'Environment="A=one two" B=2 \\\n  C=3\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n'
    )
    (second / "relay.service.d" / "10-more.conf").write_text("[Service]\nUser=first\n")
    (first / "relay.service.d" / "10-more.conf").write_text(
        "[Service]\nEnvironmentFile=\nEnvironmentFile=/c\nAmbientCapabilities=\nLoadCredential=key.pem:/k\n"
    )
    (first / "relay.service.d" / "20-last.conf").write_text("[Service]\nUser=last\nEnvironment=A=4\n")
    unit = find_unit(environ={"SYSTEMD_UNIT_PATH": f"{first}:{second}"})
    assert (unit.user, unit.may_bind) == ("last", False)
    assert unit.environment_files == ((Path("/c"), False),)
    assert unit.environment == {"A": "4", "B": "2", "C": "3"}
    assert unit.credentials == (("key.pem", Path("/k")),)


def test_unit_that_is_missing_or_masked_is_none(tmp_path):
    """Then root examines as root, as before there was a unit."""
    assert find_unit(environ={"SYSTEMD_UNIT_PATH": str(tmp_path)}) is None
    (tmp_path / "relay.service").symlink_to(os.devnull)
    assert find_unit(environ={"SYSTEMD_UNIT_PATH": str(tmp_path)}) is None
    assert list_folders({"SYSTEMD_UNIT_PATH": "/a:"})[:2] == (Path("/a"), Path("/etc/systemd/system.control"))


def enable_socket(folder, *binds):
    """A socket unit that opens these addresses, enabled."""
    text = "".join(f"ListenStream={bind}\n" for bind in binds)
    (folder / "relay.socket").write_text(f"[Socket]\n{text}Backlog=512\n")
    (folder / "sockets.target.wants").mkdir()
    (folder / "sockets.target.wants" / "relay.socket").symlink_to("../relay.socket")
    return {"SYSTEMD_UNIT_PATH": str(folder)}


def test_address_that_systemd_opens_needs_no_right(tmp_path):
    """With relay.socket the service has no capability: its port is free for systemd, and no fail."""
    environ = enable_socket(tmp_path, "127.0.0.1:0", "2525", "/run/relay.sock")
    sockets = find_socket_unit("relay.service", environ=environ)
    assert sockets.binds == {"127.0.0.1:0"}
    config = builtin_config(listeners=[{"bind": "127.0.0.1:0"}], admin={"bind": ""})
    (finding,) = examine_ports(config, sockets)
    assert (finding.level, finding.detail) == (
        "ok",
        "systemd opens it, and hands it over (relay.socket)",
    )
    assert find_socket_unit("relay.service", environ=OURS) is None  # there, and not enabled


def hang_up(server):
    """Close the first connection without a word."""
    server.accept()[0].close()


@pytest.mark.process
def test_program_at_an_address_of_the_socket_unit_is_found(tmp_path):
    """Where systemd does not have it open, somebody else has, and the socket unit could not start."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        sockets = find_socket_unit("relay.service", environ=enable_socket(tmp_path, bind))
        config = builtin_config(listeners=[{"bind": bind, "tls": "none"}], admin={"bind": ""})
        threading.Thread(target=hang_up, args=(taken,), daemon=True).start()
        (finding,) = examine_ports(config, sockets)
    assert finding.level == "fail"
    assert finding.detail.startswith("taken by another program")


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        (" A = b c ", "b c"),
        ('A="b c"', "b c"),
        ("A='b\\c'", "b\\c"),
        ('A="b\\"c"', 'b"c'),
        ("A=b\\\nc", "bc"),
        ("A=", ""),
    ],
)
def test_environment_file_is_read_as_systemd_reads_it(line, value):
    """systemd.exec(5): a value may have blanks or stand in quotes, and a backslash joins lines."""
    assert read_environment(f"# a comment\n; another\nno variable\n{line}\n") == {"A": value}


@given(st.text(st.sampled_from("[Service]\n=\\\"' %ab#;-"), max_size=60))
def test_readers_take_any_text(text):
    """A unit that a person is writing, or that is none, is read without an error."""
    dict(read_section("[Service]\n" + text))
    split_words(text)
    read_environment(text)


@pytest.mark.parametrize(
    ("key", "path", "setting"),
    [
        ("data_dir", "/home/relay/spool", "ProtectHome="),
        ("data_dir", "/tmp/spool", "PrivateTmp="),
        ("data_dir", "/srv/spool", "ProtectSystem=strict"),
        ("the configuration", "/home/a/relay.toml", "ProtectHome="),
        ("tls.key", "/home/a/key.pem", "ProtectHome="),
        ("tls.more[0].certificate", "/home/a/cert.pem", "ProtectHome="),
        ("lists.vip.file", "/var/tmp/vip", "PrivateTmp="),
        ("server.users_file", "/run/user/0/users", "ProtectHome="),
    ],
)
def test_place_that_the_unit_hides_is_a_fail(key, path, setting):
    """The user of the service could read it, and the service does not see it."""
    places = {"tls.key": "/etc/k", "tls.more[0].certificate": "/etc/c"} | {key: path}
    config = builtin_config(
        data_dir=places.get("data_dir", "/var/lib/relay"),
        server={"users_file": places.get("server.users_file", "/etc/users")},
        lists={"vip": {"file": places.get("lists.vip.file", "/etc/vip")}},
        tls={
            "certificate": "/etc/c",
            "key": places["tls.key"],
            "more": [{"certificate": places["tls.more[0].certificate"], "key": "/etc/k"}],
        },
    )
    file = Path(places.get("the configuration", "/etc/relay/relay.toml"))
    (finding,) = examine_places(config, find_unit(environ=OURS), file)
    assert finding.detail.startswith(f"{key}, {path}, is ")
    assert setting in finding.detail


def test_data_dir_that_systemd_makes_is_fine(tmp_path):
    """A fresh machine has no /var/lib/relay before the first start; its unit makes it."""
    unit = find_unit(environ=OURS)
    missing = unit.state_directories[0].with_name("relay-that-is-not-there")
    (tmp_path / "relay.service").write_text(f"[Service]\nStateDirectory={missing.name}\n")
    unit = find_unit(environ={"SYSTEMD_UNIT_PATH": str(tmp_path)})
    config = builtin_config(data_dir=str(missing), listeners=[{"bind": "127.0.0.1:0"}], admin={"bind": ""})
    service = Service(unit=unit, file=Path("/etc/relay/relay.toml"))
    found = examine(config, now=utc_now(), remote=False, service=service)
    (finding,) = [each for each in found if each.subject == "data_dir"]
    assert (finding.level, finding.detail) == (
        "ok",
        f"{missing} is not there yet; systemd makes it at the start (StateDirectory=)",
    )


def test_missing_environment_file_is_a_fail(tmp_path):
    """Without a dash in front of it, the service does not start."""
    (tmp_path / "a.env").write_text("A=1\n")
    (tmp_path / "relay.service").write_text(
        f"[Service]\nEnvironmentFile={tmp_path}/none\nEnvironmentFile=-{tmp_path}/nor\n"
        f"EnvironmentFile={tmp_path}/*.env\n"
    )
    service = find_service(find_unit(environ={"SYSTEMD_UNIT_PATH": str(tmp_path)}), {})
    assert service.environment["A"] == "1"
    (finding,) = service.findings
    assert finding.detail.startswith(f"EnvironmentFile={tmp_path}/none: No such file")


# --- As root


needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="only root can run as another user, by setpriv",
)


@needs_root
def test_user_that_is_not_there_is_a_fail(tmp_path, monkeypatch):
    """The unit cannot start before its user is made; the rest is examined as root meanwhile."""
    (tmp_path / "relay.service").write_text("[Service]\nUser=nobody-has-this\nExecStart=/bin/true\n")
    monkeypatch.setenv("SYSTEMD_UNIT_PATH", str(tmp_path))
    done = CliRunner().invoke(main, ["check", "--offline", "--config", str(tmp_path / "none.toml")])
    assert done.exit_code == 1
    first, second = done.stdout.splitlines()
    assert first.startswith("fail  unit: User=nobody-has-this of ")
    assert second.startswith("fail  config: ")


@pytest.fixture(scope="module")
def open_folder():
    """A folder that every user may enter; pytest's own are closed."""
    with tempfile.TemporaryDirectory(prefix="relay-") as folder:
        place = Path(folder)
        place.chmod(0o755)
        yield place


@pytest.fixture(scope="module")
def program(open_folder):
    """A relay that nobody's user may run, as /opt/relay is; a developer's own often lies in his home."""
    folder = open_folder
    wanted = f"python3.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{wanted}", f"/usr/local/bin/{wanted}"):
        script, libraries = folder / "relay", [each for each in sys.path if each.startswith(sys.prefix)]
        script.write_text(
            f'#!/bin/sh\nPYTHONPATH="{":".join([str(ROOT), *libraries])}" exec {python} -m relay "$@"\n'
        )
        script.chmod(0o755)
        tried = subprocess.run(
            ["setpriv", "--reuid", "nobody", "--clear-groups", "--", script, "--version"],
            cwd="/", capture_output=True, check=False,
        )  # fmt: skip
        if tried.returncode == 0:
            return script
    pytest.skip("no Python here that another user may run, with our libraries")


UNIT = """
[Service]
User=nobody
Group={group}
ExecStart={program} serve --config {home}/relay.toml
EnvironmentFile={home}/environment
LoadCredential=key.pem:{key}
AmbientCapabilities=CAP_NET_BIND_SERVICE
"""
CONFIG = """
data_dir = "{home}/spool"
[[listeners]]
bind = "127.0.0.1:{port}"
[tls]
certificate = "{certificate}"
key = "/run/credentials/{name}/key.pem"
[spool]
min_free_bytes = 0
[s3]
bucket = "example-mail"
[connect]
instance_id = "12345678-90ab-cdef-1234-567890abcdef"
[admin]
bind = ""
[[routes]]
match = ["support@example.com"]
"""


@pytest.fixture
def machine(program, papers, open_folder):
    """A machine with a unit, its secrets readable for root alone, and the spool for the unit's user."""
    home = Path(tempfile.mkdtemp(dir=open_folder))
    home.chmod(0o755)
    name = f"relay-test-{os.getpid()}.service"
    key = home / "key.pem"
    key.write_bytes(papers.key.read_bytes())
    key.chmod(0o600)
    certificate = home / "cert.pem"
    certificate.write_bytes(papers.certificate.read_bytes())
    nobody, group = 65_534, 65_534
    (home / name).write_text(UNIT.format(program=program, home=home, key=key, group=group))
    (home / "environment").write_text("RELAY_HOSTNAME='mx.test.example'\n")
    (home / "environment").chmod(0o600)
    (home / "relay.toml").write_text(CONFIG.format(home=home, port=621, certificate=certificate, name=name))
    (home / "spool").mkdir(mode=0o700)
    os.chown(home / "spool", nobody, group)

    def check(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "relay", "check", "--offline", "--json", "--unit", name, *arguments],
            env=os.environ | {"SYSTEMD_UNIT_PATH": str(home)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.stderr == ""
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    return home, name, check


def bad(findings):
    """The findings that fail."""
    return [(each["subject"], each["detail"]) for each in findings if each["level"] == "fail"]


@needs_root
@pytest.mark.process
def test_root_examines_as_the_service(machine):
    """The unit's user, its environment file, its credential and its one capability: all is found to work,
    and nothing is left behind.
    """
    home, name, check = machine
    code, findings = check()
    assert (code, bad(findings)) == (0, [])
    details = {each["subject"]: each["detail"] for each in findings}
    assert details["unit"] == f"examined as nobody, with the environment of {home / name}"
    assert details["config"] == f"{home}/relay.toml"
    assert "mx.test.example" in details["hostname"]
    assert details["listener 127.0.0.1:621"] == "free to bind"
    assert not Path("/run/credentials", name).exists()


@needs_root
@pytest.mark.process
def test_files_of_root_alone_are_a_fail(machine):
    """Root could read all of it, and used to say that all was well; --as-is still does."""
    home, name, check = machine
    os.chown(home / "spool", 0, 0)
    (home / "relay.toml").write_text(
        (home / "relay.toml").read_text().replace(f"/run/credentials/{name}/", f"{home}/")
    )
    code, findings = check()
    assert code == 1
    assert [detail.partition(":")[0] for _, detail in bad(findings)] == [
        f'tls.key = "{home}/key.pem"',
        f'data_dir = "{home}/spool"',
    ]
    as_is = check("--as-is", "--config", str(home / "relay.toml"))
    assert (as_is[0], bad(as_is[1])) == (0, [])
    assert "unit" not in {each["subject"] for each in as_is[1]}

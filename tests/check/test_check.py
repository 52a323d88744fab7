"""What `relay check` finds on this machine: the certificate, the disk, the ports, and what was meant
otherwise.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import ssl
import threading
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from spool_helpers import lock_file, make_database, tables_of

from relay.check import examine
from relay.check.certificate import examine_certificate
from relay.check.finding import Level
from relay.check.machine import (
    examine_data_dir,
    examine_files,
    examine_library,
    examine_spool,
    filesystem,
)
from relay.check.ports import examine_ports
from relay.check.rules import (
    covers,
    examine_destinations,
    examine_hostname,
    examine_rates,
    examine_routes,
    examine_trust,
)
from relay.check.secrets import examine_secrets
from relay.config.builtin import builtin_config
from relay.config.listener import Tls
from relay.config.process import Server as ServerSection
from relay.daemon.admin import build_application, open_admin

NOW = datetime.now(UTC)


def levels(findings):
    """The findings as (level, subject)."""
    return [(str(finding.level), finding.subject) for finding in findings]


# --- Certificates


@pytest.fixture
def issue(tmp_path):
    """A function that writes a self-signed certificate for a name and gives the [tls] section with it."""

    def issue(name="relay.example.com", *, days=90, age=0):
        key = ec.generate_private_key(ec.SECP256R1())
        who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        begun = NOW - timedelta(days=age, hours=1)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(who)
            .issuer_name(who)
            .public_key(key.public_key())
            .serial_number(7)
            .not_valid_before(begun)
            .not_valid_after(begun + timedelta(days=days, hours=2))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        paths = {"certificate": tmp_path / "cert.pem", "key": tmp_path / "key.pem"}
        paths["certificate"].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths["key"].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return paths

    return issue


def certificate_findings(tls):
    """What is said of a certificate."""
    return list(examine_certificate(builtin_config(tls=tls), now=NOW))


def test_good_certificate_is_ok_and_its_chain_is_judged(issue):
    """A certificate with time left is ok; that no root of this machine stands behind it is a warning."""
    expiry, chain = certificate_findings(issue())
    assert expiry.level is Level.OK
    assert expiry.detail.endswith(f"is good until {NOW + timedelta(days=90, hours=1):%Y-%m-%d}")
    assert (chain.level, "self-signed" in chain.detail.replace(" ", "-")) == (Level.WARN, True)


def test_certificate_that_ends_soon_is_a_warning(issue):
    """Less than two weeks are worth a line."""
    expiry, *_ = certificate_findings(issue(days=5))
    assert expiry.level is Level.WARN
    assert "ends in 5 days" in expiry.detail


def test_expired_certificate_is_a_fail(issue):
    """A certificate past its end is refused by every peer that looks."""
    expiry, *_ = certificate_findings(issue(days=10, age=20))
    assert expiry.level is Level.FAIL
    assert "has expired" in expiry.detail


def test_certificate_that_is_not_yet_valid_is_of_the_clock(issue):
    """A new certificate begins in our future where the clock is behind: to renew it would not help."""
    expiry, *_ = certificate_findings(issue(age=-1))
    assert expiry.level is Level.FAIL
    assert expiry.detail.endswith(
        f"certificate is not yet valid; look at the clock (NTP): it says {NOW:%Y-%m-%d %H:%M} UTC"
    )


def test_certificate_of_another_name_is_a_warning(issue):
    """The name in the banner should be one of the certificate's."""
    named = certificate_findings(issue("mail.example.net"))[-1]
    assert named.level is Level.WARN
    assert named.detail.startswith("is not for relay.example.com, the name in our banner")


def test_no_certificate_is_a_warning():
    """STARTTLS without a certificate is not offered: that is said."""
    (finding,) = certificate_findings({})
    assert finding.level is Level.WARN
    assert certificate_findings_without_starttls() == []


def certificate_findings_without_starttls():
    """What is said where TLS was not asked for."""
    config = builtin_config(listeners=[{"tls": "none"}])
    return list(examine_certificate(config, now=NOW))


# --- The machine


def data_dir_finding(**overrides):
    """What is said of a data_dir."""
    (finding,) = examine_data_dir(builtin_config(**overrides))
    return finding


def on(kind, monkeypatch):
    """Every path lies on this file system."""
    table = f"1 0 8:1 / / rw - {kind} /dev/sda1 rw\n"
    monkeypatch.setattr(Path, "read_text", lambda self, *rest: table)


def test_data_dir_with_room_is_ok(tmp_path, monkeypatch):
    """A directory that keeps what is synced, with room, is ok, and nothing is left in it."""
    on("ext4", monkeypatch)
    finding = data_dir_finding(data_dir=tmp_path, spool={"min_free_bytes": 0})
    assert finding.level is Level.OK
    assert list(tmp_path.iterdir()) == []


def test_data_dir_yet_to_be_made_is_looked_at_by_its_parent(tmp_path, monkeypatch):
    """A directory that we may make is judged by where it will lie."""
    on("ext4", monkeypatch)
    finding = data_dir_finding(data_dir=tmp_path / "a" / "b", spool={"min_free_bytes": 0})
    assert finding.detail.startswith(str(tmp_path))


@pytest.mark.parametrize("kind", ["nfs4", "tmpfs"])
def test_file_system_that_forgets_is_a_fail(kind, tmp_path, monkeypatch):
    """A network or memory file system does not keep a 250's promise."""
    on(kind, monkeypatch)
    finding = data_dir_finding(data_dir=tmp_path)
    assert finding.level is Level.FAIL
    assert f"is on {kind}" in finding.detail


def test_node_of_a_fleet_may_have_its_data_dir_in_memory(tmp_path, monkeypatch):
    """Mail of a fleet is in S3 and in a table: nothing is asked of the disk, and no spool is to be made."""
    on("tmpfs", monkeypatch)
    fleet = {"table": "relay-table"}
    finding = data_dir_finding(data_dir=tmp_path, spool={"min_free_bytes": 0}, fleet=fleet)
    assert finding.level is Level.OK
    (spool,) = examine_spool(builtin_config(data_dir=tmp_path, fleet=fleet))
    assert spool.level is Level.OK
    assert "the table relay-table" in spool.detail


def test_full_disk_is_a_fail(tmp_path, monkeypatch):
    """Less room than the spool must keep free is a fail before the first 452."""
    on("ext4", monkeypatch)
    finding = data_dir_finding(data_dir=tmp_path, spool={"min_free_bytes": 10**18})
    assert finding.level is Level.FAIL
    assert "spool.min_free_bytes" in finding.detail


def test_few_inodes_are_a_fail(tmp_path, monkeypatch):
    """A disk with room and without inodes takes no mail either."""
    on("ext4", monkeypatch)
    finding = data_dir_finding(data_dir=tmp_path, spool={"min_free_bytes": 0, "min_free_inodes": 10**15})
    assert finding.level is Level.FAIL
    assert "inodes" in finding.detail


def test_filesystem_is_that_of_the_nearest_mount():
    """The longest mount point that holds the path decides, and of two on one point the later."""
    table = (
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "2 1 0:5 / /var rw shared:1 - xfs /dev/sdb1 rw\n"
        "3 1 0:6 / /var/lib\\040x rw - nfs4 host:/ rw\n"
        "4 1 0:7 / /var rw - btrfs /dev/sdc1 rw\n"
    )
    assert filesystem(Path("/var/spool"), table) == "btrfs"
    assert filesystem(Path("/var/lib x/relay"), table) == "nfs4"
    assert filesystem(Path("/srv"), table) == "ext4"


def spool_findings(data_dir):
    """What is said of a spool."""
    return [
        (str(finding.level), finding.detail) for finding in examine_spool(builtin_config(data_dir=data_dir))
    ]


@pytest.mark.parametrize(("key", "said"), [(None, "is lost"), ("no key", "holds no key of ours")])
def test_a_lost_key_of_hashed_addresses_is_told(tmp_path, key, said):
    """A key that records of erased mail need, and that is not there or none, is a failure."""
    (tmp_path / "spool").mkdir()
    make_database(tmp_path / "spool" / "spool.db")
    with tables_of(tmp_path) as connection:
        connection.execute(
            "INSERT INTO ledger (fingerprint, instance_id, address, spool_id, confirmed, accepted_at, erased_at) "
            "VALUES ('f', 'i', 'a', 's', 0, 1, 1)"
        )
    if key is not None:
        (tmp_path / "address.key").write_text(key)
    found = [
        each for each in examine_spool(builtin_config(data_dir=tmp_path)) if each.subject == "address key"
    ]
    assert [each.level for each in found] == ["fail"]
    assert said in found[0].detail


@pytest.mark.parametrize(("most", "level"), [(0, "ok"), (1_000, "ok"), (999, "warn")])
def test_the_ledger_is_counted(tmp_path, most, level):
    """The records of the ledger and their octets are told; more than the quota are a warning."""
    (tmp_path / "spool").mkdir()
    make_database(tmp_path / "spool" / "spool.db")
    with tables_of(tmp_path) as tables:
        tables.execute(
            "INSERT INTO ledger (fingerprint, instance_id, address, spool_id, confirmed, accepted_at) "
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) "
            "SELECT 'f', 'i', 'a', i, 1, i FROM n"
        )
    config = builtin_config(data_dir=tmp_path, spool={"max_ledger_rows": most})
    _, finding = examine_spool(config)
    assert (finding.level, finding.subject) == (level, "ledger")
    assert finding.detail.startswith("the ledger has 1,000 records, some 0 MB")
    assert ("spool.max_ledger_rows" in finding.detail) is (level == "warn")


def test_spool_is_looked_into(tmp_path):
    """There may be none yet; one that is there is read; and what cannot be used is a fail each."""
    assert spool_findings(tmp_path) == [("ok", "none there yet; the daemon makes it")]
    make_database(tmp_path / "spool.db")
    assert spool_findings(tmp_path) == [("ok", "none there yet; the daemon makes it")]
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool.db").rename(tmp_path / "spool" / "spool.db")
    assert spool_findings(tmp_path) == [("ok", "can be read, and knows of 0 deliveries")]
    with tables_of(tmp_path) as tables:
        tables.execute("INSERT INTO clock VALUES (1, 'a start', 0, 864000000000, 0, 0, 0, 0, 0, NULL, 0, 0)")
    _, clock = spool_findings(tmp_path)
    assert clock[0] == "warn"
    assert "or the machine was off for so long: no mail is given up" in clock[1]
    (tmp_path / "spool" / "spool.db").write_bytes(b"no database, and not short" * 200)
    ((level, detail),) = spool_findings(tmp_path)
    assert level == "fail"
    assert f"{tmp_path}/spool/spool.db cannot be read as a database" in detail
    (tmp_path / "spool" / "raw").write_text("")
    (tmp_path / "tally").mkdir()
    assert [level for level, _ in spool_findings(tmp_path)] == ["fail", "fail"]


def test_root_is_told_what_its_users_may_not(tmp_path):
    """Root may do all, and yet sees what the owner of data_dir, as whom the daemon runs, may not use."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    (tmp_path / "spool").mkdir()
    make_database(tmp_path / "spool" / "spool.db")
    os.chown(tmp_path, 65_534, 65_534)
    ((level, detail), rest) = spool_findings(tmp_path)
    assert level == "warn"
    assert f"{tmp_path}/spool belongs to root (mode 0755), and the user nobody may not list it" in detail
    assert rest == ("ok", "can be read, and knows of 0 deliveries")


def test_library_is_new_enough():
    """The SQLite that we bring keeps the promise."""
    assert examine_library().level is Level.OK


def test_few_descriptors_are_a_warning(monkeypatch):
    """A limit below what the sessions need is said before accept() fails."""
    monkeypatch.setattr(resource, "getrlimit", lambda which: (2_048, 4_096))
    assert examine_files(2_000).level is Level.WARN
    assert examine_files(500).level is Level.OK


# --- Ports


@contextmanager
def answering(greeting, context=None, *, port=0):
    """A port of loopback that says this to whoever comes."""
    with socket.create_server(("127.0.0.1", port)) as server:

        def serve():
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with ExitStack() as opened, suppress(OSError):
                    spoken = opened.enter_context(client)
                    if context:
                        spoken = opened.enter_context(context.wrap_socket(client, server_side=True))
                    spoken.sendall(greeting)
                    spoken.recv(64)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.fixture
def attended(tmp_path):
    """A data_dir in which a daemon runs, as far as its lock tells."""
    handle = lock_file(tmp_path / "deliver.lock")
    yield tmp_path
    os.close(handle)


def port_finding(bind, data_dir="/nowhere", **listener):
    """What is said of one listener."""
    config = builtin_config(
        listeners=[{"bind": bind, "tls": "none", **listener}], admin={"bind": ""}, data_dir=str(data_dir)
    )
    (finding,) = examine_ports(config)
    return finding


def test_free_port_is_ok():
    """An address that can be bound is fine."""
    assert port_finding("127.0.0.1:0").detail == "free to bind"


def test_port_of_a_running_relay_is_ok(attended):
    """A banner with our name says that the port is ours already."""
    with answering(b"220 relay.example.com ESMTP ready\r\n") as bind:
        finding = port_finding(bind, attended)
    assert (finding.level, finding.detail) == (Level.OK, "a relay answers")


def test_port_of_another_relay_is_a_fail(tmp_path):
    """A relay that answers while none runs with our data_dir is another one, which keeps ours from its
    port; so is the one that held a lock here and died.
    """
    (tmp_path / "spool" / "makers").mkdir(parents=True)
    os.close(lock_file(tmp_path / "spool" / "makers" / "AAAAA"))
    with answering(b"220 relay.example.com ESMTP ready\r\n") as bind:
        finding = port_finding(bind, tmp_path)
    assert finding.level is Level.FAIL
    assert finding.detail == (
        f"another relay has it: none runs with the data_dir {tmp_path}; stop it, or take another port"
    )


@pytest.mark.parametrize(
    ("greeting", "said"),
    [
        (b"220 other.example.com ESMTP ready\r\n", ' (it says "220 other.example.com ESMTP ready")'),
        # The mail server that was on this machine before us has its name, too.
        (
            b"220 relay.example.com ESMTP Postfix\r\n",
            ' (it says "220 relay.example.com ESMTP Postfix")',
        ),
        (b"554 5.7.1 <a>: Access denied\r\n", ' (it says "554 5.7.1 <a>: Access denied")'),
        (b"SSH-2.0-\x1b[2J\x9b\r\n", ' (it says "SSH-2.0-?[2J\\x9b")'),
        (b"x" * 300, f' (it says "{"x" * 80} ...")'),
        (b"\r\n", " (or a relay that hangs: nothing is said there)"),
    ],
)
def test_port_of_another_program_is_a_fail(greeting, said):
    """Any other banner says that somebody else is there; it is shown, safe for a terminal."""
    with answering(greeting) as bind:
        finding = port_finding(bind)
    assert finding.level is Level.FAIL
    assert finding.detail == f"taken by another program{said}; stop it, or take another port"


def test_port_that_only_root_may_bind_is_looked_at_from_outside(attended):
    """Another user than the daemon's, who may not bind its port, learns who answers there; "may not" is for
    free ones.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can take a port below 1024, and give up being root")
    port = next(port for port in range(1_023, 512, -1) if is_free(port))
    assert as_nobody(port, attended).detail.startswith("may not be bound by this user")
    with answering(b"220 relay.example.com ESMTP ready\r\n", port=port):
        assert as_nobody(port, attended).detail == "a relay answers"


def as_nobody(port, data_dir):
    """What is said of a listener to a user without rights, who may not look into data_dir."""
    data_dir.chmod(0o700)
    os.seteuid(65_534)
    try:
        return port_finding(f"127.0.0.1:{port}", data_dir)
    finally:
        os.seteuid(0)


def is_free(port):
    """Whether a port of loopback is free."""
    with socket.socket() as sock, suppress(OSError):
        sock.bind(("127.0.0.1", port))
        return True
    return False


def test_port_with_implicit_tls_is_greeted_through_tls(issue, attended):
    """Where TLS comes first, the banner is looked for inside it."""
    paths = issue()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(paths["certificate"], paths["key"])
    with answering(b"220 relay.example.com ESMTP ready\r\n", context) as bind:
        listener = {"bind": bind, "tls": "implicit"}
        config = builtin_config(listeners=[listener], admin={"bind": ""}, tls=paths, data_dir=str(attended))
        (finding,) = examine_ports(config)
    assert finding.level is Level.OK


def test_foreign_address_is_a_fail():
    """An address that this machine has not cannot be bound."""
    finding = port_finding("192.0.2.1:2525")  # RFC 5737: documentation, nobody's
    assert (finding.level, finding.detail) == (Level.FAIL, "is no address of this machine")


async def test_admin_port_is_ours_when_it_lives(attended):
    """The port for health is taken by a relay when a relay's own pages are served there; by another one,
    where none runs with our data_dir.
    """

    async def metrics():
        return {}

    async with open_admin(
        ["127.0.0.1:0"], build_application(problems=lambda: ("not ready",), metrics=metrics)
    ) as binds:
        assert (await asyncio.to_thread(admin_finding, *binds, attended)).level is Level.OK
        another = await asyncio.to_thread(admin_finding, *binds)
        assert another.level is Level.FAIL
        assert another.detail.startswith("another relay has it")


def admin_finding(bind, data_dir="/nowhere"):
    """The line of `relay check` about the port for health."""
    config = builtin_config(listeners=[{"bind": "127.0.0.1:0"}], admin={"bind": bind}, data_dir=str(data_dir))
    return list(examine_ports(config))[1]


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n",
        b"HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\nok\n",
        b"HTTP/1.1 200 OK\r\nServer: connect-mail-relay\r\n\r\n<html>",
        b"HTTP/1.1 404 Not Found\r\nServer: connect-mail-relay\r\n\r\nok\n",
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nServer: connect-mail-relay\r\n\r\nok\n" * 1_000,
        b"\xff" * 100_000,
    ],
)
def test_admin_port_is_not_ours_whatever_else_says_200(said):
    """A page of another program is none of ours: a 200 alone, our word without our name, or too much
    of both.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            sock, _ = server.accept()
            with sock, suppress(OSError):
                sock.recv(1_000)
                sock.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()
        finding = admin_finding(f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()
    assert finding.level is Level.FAIL
    assert "another program" in finding.detail


# --- What was meant otherwise


@pytest.mark.parametrize(
    ("earlier", "later", "covered"),
    [
        ("@example.com", "support@example.com", True),
        ("@example.com", "support*@example.com", True),
        ("@example.com", "support@example.net", False),
        ("support*@example.com", "support-de@example.com", True),
        ("support*@example.com", "sales@example.com", False),
        ("support@example.com", "@example.com", False),
        ("support@example.com", "support*@example.com", False),
        ("support@example.com", "support+vip@example.com", True),
        ("support+vip@example.com", "support@example.com", False),
    ],
)
def test_covers(earlier, later, covered):
    """An earlier pattern covers a later one when it takes every address that the later takes."""
    assert covers(earlier, later) is covered


def test_route_behind_a_catch_all_is_a_warning():
    """A route that never gets a mail is said, with the one that takes it."""
    config = builtin_config(routes=[{"match": ["@example.com"]}, {"match": ["support@example.com"]}])
    (finding,) = examine_routes(config)
    assert finding.level is Level.WARN
    assert '"support@example.com"' in finding.detail
    assert "@example.com stands before it" in finding.detail


def test_routes_in_order_are_ok():
    """The built-in routes each get their mail."""
    assert levels(examine_routes(builtin_config())) == [("ok", "routes")]


@pytest.mark.parametrize("pattern", ["@example.com", "support*@example.com"])
def test_route_to_whatever_was_written_to_is_a_warning(pattern):
    """Connect has only the addresses that somebody made: a domain or a wildcard takes others, too, unless one
    is named.
    """
    (finding,) = examine_destinations(
        builtin_config(routes=[{"match": ["a@example.com", pattern], "name": "all"}])
    )
    assert finding.level is Level.WARN
    assert finding.detail.startswith(
        f'"{pattern}" of all has no destination: each address must exist in Connect'
    )
    named = {"match": [pattern], "destination": "support@example.com"}
    for route in (named, {"match": ["a@example.com"]}):
        assert list(examine_destinations(builtin_config(routes=[route]))) == []


def test_rate_of_recipients_is_said():
    """Where strangers may come in, it is said what one address of theirs may name, and how to raise it."""
    (finding,) = examine_rates(builtin_config(limits={"recipients_per_minute": 600}))
    assert (finding.level, finding.subject) == ("ok", "limits")
    assert "600 recipients a minute" in finding.detail
    assert "raise limits.recipients_per_minute" in finding.detail
    trusted = [{"bind": "127.0.0.1:2526", "role": "trusted"}]
    assert list(examine_rates(builtin_config(listeners=trusted))) == []


def test_wide_trust_is_a_warning():
    """Believing everybody's PROXY header, or a public network without auth, is said."""
    config = builtin_config(
        listeners=[
            {"bind": "127.0.0.1:2525", "proxy_protocol": ["0.0.0.0/0"], "xclient": ["::/0"]},
            {"bind": "127.0.0.1:2526", "role": "trusted", "allow": ["10.0.0.0/8", "8.8.8.0/24"]},
        ]
    )
    found = list(examine_trust(config))
    assert levels(found) == [
        ("warn", "listener 127.0.0.1:2525"),
        ("warn", "listener 127.0.0.1:2525"),
        ("warn", "listener 127.0.0.1:2526"),
    ]
    assert list(examine_trust(builtin_config())) == []


def test_hostname_without_a_dot_is_a_warning():
    """Peers expect a full name in a banner."""
    assert examine_hostname("localhost").level is Level.WARN


def test_hostname_that_resolves_is_ok(monkeypatch):
    """A name that DNS knows is fine, and its address is shown; one that it does not know is a warning."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("192.0.2.7", 0))])
    assert examine_hostname("mx1.example.com").detail == "mx1.example.com is 192.0.2.7"

    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert examine_hostname("mx1.example.com").level is Level.WARN


def test_whole_examination_of_this_machine(tmp_path, issue):
    """All examinations of the machine come in the order in which a mail would meet them."""
    config = builtin_config(
        hostname="localhost",
        data_dir=tmp_path,
        tls=issue("localhost"),
        listeners=[{"bind": "127.0.0.1:0"}],
        admin={"bind": ""},
    )
    subjects = [finding.subject for finding in examine(config, now=NOW, remote=False)]
    assert list(dict.fromkeys(subjects)) == [
        "routes",
        "limits",
        "hostname",
        "certificate",
        "data_dir",
        "spool",
        "sqlite",
        "open files",
        "listener 127.0.0.1:0",
    ]


def test_wrong_files_are_said_once(tmp_path):
    """What the start of the daemon would refuse is a fail here, and is not examined further."""
    config = builtin_config(
        hostname="localhost",
        data_dir=__file__,
        tls={"certificate": tmp_path / "nowhere.pem", "key": tmp_path / "nowhere.key"},
        listeners=[{"bind": "127.0.0.1:0"}],
        admin={"bind": ""},
    )
    found = [finding for finding in examine(config, now=NOW, remote=False) if finding.level is Level.FAIL]
    assert levels(found) == [("fail", "files")] * 3


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("certificate", "tls.key"),
        ("logins", "server.users_file"),
        ("environment", "the environment file"),
        ("credentials", "AWS_SHARED_CREDENTIALS_FILE"),
    ],
)
@pytest.mark.parametrize(
    ("mode", "verb"),
    [(0o600, ""), (0o640, ""), (0o644, "read"), (0o604, "read"), (0o602, "change"), (0o666, "read")],
)
def test_secret_that_others_can_read_is_a_warning(tmp_path, monkeypatch, subject, name, mode, verb):
    """A key, the logins, the environment and AWS's credentials are nobody else's to read or to change."""
    file = tmp_path / "secret"
    file.write_text("x")
    file.chmod(mode)
    missing = tmp_path / "missing"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file if name.startswith("AWS") else "/dev/null"))
    config = builtin_config().model_copy(
        update={
            "tls": Tls(key=file if name == "tls.key" else missing, certificate=missing),
            "server": ServerSection(users_file=file if name == "server.users_file" else None),
        }
    )
    found = list(examine_secrets(config, environment_file=file if subject == "environment" else missing))
    assert levels(found) == ([("warn", subject)] if verb else [])
    if verb:
        start = f"{name}, {file}, has mode {mode:04o}, so every user of this machine can {verb} it"
        assert found[0].detail == f"{start}; run chmod o= {file}"

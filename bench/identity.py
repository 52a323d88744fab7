"""What the checks of a mail's origin cost, side by side: our daemon with and without them, and Postfix with
and without opendkim and policyd-spf, all under the same load of signed mail in the same run.

    python -m bench.identity [--seconds 5] [--rounds 5]

Both judge SPF and DKIM (RSA with 2,048 bits) of a mail of 2 KB; the relay also judges HELO, ARC, DMARC and
iprev. An NSD on loopback has the records, and everybody's cache is warm. Needs root, and the Debian packages
postfix, opendkim, postfix-policyd-spf-python and nsd.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from auth.signing import NAME, record, rsa_key, sign
from harness import free_port, until
from nsd import answers, nsd

from bench import opendkim, source
from bench import postfix as private_postfix
from bench.smtp import CONFIG, Server, cpu_seconds, postfix, relay
from relay.cli.progress import tracked

#: policyd-spf asks the server of /etc/resolv.conf, and that has no port.
_DNS_HOST = "127.0.0.53"
_ZONE = """$ORIGIN example.
$TTL 3600
@ SOA ns root 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
bank TXT "v=spf1 ip4:127.0.0.1 -all"
mx.bank A 127.0.0.1
mx.bank TXT "v=spf1 ip4:127.0.0.1 -all"
_dmarc.bank TXT "v=DMARC1; p=reject"
"""
_REVERSE = """$ORIGIN 127.in-addr.arpa.
$TTL 3600
@ SOA ns.example. root.example. 1 3600 600 86400 60
@ NS ns.example.
1.0.0 PTR mx.bank.example.
"""
_HEADER = (
    b"From: The Bank <service@bank.example>\r\nTo: support@example.com\r\nSubject: A statement\r\n"
    b"Date: Sun, 29 Nov 2026 12:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n"
)
_POLICY = """debugLevel = 0
TestOnly = 1
HELO_reject = False
Mail_From_reject = False
PermError_reject = False
TempError_Defer = False
skip_addresses = 192.0.2.1/32
"""
_SESSIONS = 50
#: Messages of the first runs.
_FIRST = 500


@dataclass(slots=True, kw_only=True)
class Rival:
    """A server, and what each of its runs gave."""

    server: Server
    #: Looks at a mail that was taken. Returns what is missing in its results, "" for nothing.
    proof: Callable[[], str] | None = None
    #: Mails a second.
    rates: list[float] = field(default_factory=list)
    #: Microseconds of processor time for each mail.
    cpu: list[float] = field(default_factory=list)


def missing() -> str | None:
    """What stands in the way, as a sentence; None when nothing does."""
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    for program, package in {"policyd-spf": "postfix-policyd-spf-python", "nsd": "nsd"}.items():
        if shutil.which(program, path=path) is None:
            return f"needs the Debian package {package}"
    return private_postfix.missing() or (None if opendkim.PROGRAM else "needs the Debian package opendkim")


def build_mail(octets: int) -> bytes:
    """A signed mail of about so many octets."""
    line = b"A line of a statement that says how much there is.\r\n"
    return sign(_HEADER + line * ((octets - 700) // len(line)), rsa_key(2_048))


@contextlib.contextmanager
def _checking_postfix(home: Path) -> Iterator[Server]:
    """Postfix that asks policyd-spf about each recipient, and opendkim about each mail."""
    (home / "keys").write_text(f"{NAME} {record(rsa_key(2_048)).decode()}\n")
    (home / "policyd-spf.conf").write_text(_POLICY)
    (home / "resolv.conf").write_text(f"nameserver {_DNS_HOST}\n")
    service = (
        f"policyd-spf unix - n n - 0 spawn user=nobody argv=/usr/bin/policyd-spf {home}/policyd-spf.conf\n"
    )
    mounting = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    with opendkim.OpenDkim(
        home / "opendkim",
        port=free_port(),
        mode="v",
        TestDNSData=f"file:{home}/keys",
        InternalHosts="192.0.2.1",
    ) as milter:
        until(lambda: answers(int(milter.milter.rpartition(":")[2])), so=milter.log())
        with postfix(
            home / "checking",
            name="postfix, checks",
            services=service,
            launcher=["unshare", "--mount", "sh", "-c", mounting, str(home / "resolv.conf")],
            smtpd_milters=milter.milter,
            milter_default_action="tempfail",
            smtpd_recipient_restrictions="check_policy_service unix:private/policyd-spf, permit_mynetworks, reject",
            **{"policyd-spf_time_limit": "3600"},
        ) as running:
            yield Server(name=running.name, port=running.port, pids=lambda: [*running.pids(), milter.pid])


@contextlib.contextmanager
def _rivals(home: Path) -> Iterator[list[Rival]]:
    text = record(rsa_key(2_048)).decode()
    strings = " ".join(f'"{text[at : at + 250]}"' for at in range(0, len(text), 250))
    zone = f"{_ZONE}{NAME.removesuffix('.example')} TXT {strings}\n"
    checks = CONFIG.replace("enabled = false", f'enabled = true\n[dns]\nservers = ["{_DNS_HOST}:53"]')
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            nsd(home, {"example": zone, "127.in-addr.arpa": _REVERSE}, host=_DNS_HOST, port=53)
        )
        servers = [
            stack.enter_context(each)
            for each in (
                relay(home / "relay", config=CONFIG),
                relay(home / "relay-checks", config=checks, name="relay, checks"),
                postfix(home / "postfix"),
                _checking_postfix(home),
            )
        ]
        log, queue = home / "relay-checks/daemon.log", home / "checking/queue/hold"
        proofs: list[Callable[[], str] | None] = [
            None,
            lambda: _find_missing(log.read_bytes(), b'"spf":"pass","dkim":"pass"'),
            None,
            lambda: _find_missing(
                next(each for each in queue.rglob("*") if each.is_file()).read_bytes(),
                b"dkim=pass",
                b"Received-SPF: Pass",
            ),
        ]
        yield [Rival(server=server, proof=proof) for server, proof in zip(servers, proofs, strict=True)]


def _find_missing(octets: bytes, *words: bytes) -> str:
    """The first of these words that does not stand in the octets; "" if all do."""
    return next((word.decode() for word in words if word not in octets), "")


def measure(rivals: list[Rival], mail: bytes, *, rounds: int, seconds: float) -> None:
    """Let the rivals take turns; the first run of each warms its cache."""

    def run(rival: Rival, count: int) -> float:
        port = rival.server.port
        return source.run(
            port,
            mail,
            sessions=_SESSIONS,
            messages=count,
            sender="service@bank.example",
            helo="mx.bank.example",
        )

    counts = {}
    for rival in rivals:
        run(rival, _FIRST)
        counts[rival.server.name] = max(int(run(rival, _FIRST) * seconds), _SESSIONS)
        if rival.proof and (found := rival.proof()):
            raise RuntimeError(f"{rival.server.name} does not check: {found}")
    for _ in tracked("bench.identity", range(rounds), is_silent=True):
        for rival in rivals:
            count = counts[rival.server.name]
            before = cpu_seconds(rival.server.pids())
            rival.rates.append(run(rival, count))
            rival.cpu.append((cpu_seconds(rival.server.pids()) - before) / count * 1e6)


def _tell(rivals: list[Rival]) -> None:
    print("| server | mails/s | µs CPU a mail | lowest | highest |\n|" + " --- |" * 5)
    for rival in rivals:
        rate, cpu = statistics.median(rival.rates), statistics.median(rival.cpu)
        print(
            f"| {rival.server.name} | {rate:,.0f} | {cpu:,.0f} | {min(rival.cpu):,.0f} | {max(rival.cpu):,.0f} |"
        )
    ours, ours_checks, theirs, theirs_checks = rivals
    added = statistics.median(a - b for a, b in zip(ours_checks.cpu, ours.cpu, strict=True))
    added_theirs = statistics.median(a - b for a, b in zip(theirs_checks.cpu, theirs.cpu, strict=True))
    ratios = [a / b for a, b in zip(ours_checks.rates, theirs_checks.rates, strict=True)]
    print(
        f"\nadded by the checks: {added:,.0f} µs here, {added_theirs:,.0f} µs there ({added_theirs / added:.1f}x)"
    )
    print(
        f"mails a second with checks: {statistics.median(ratios):.1f} times as many as Postfix "
        f"with opendkim and policyd-spf, {min(ratios):.1f} in the worst round"
    )


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if (why := missing()) is not None:
        print(f"bench.identity {why}; left out")
        return
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home.chmod(0o711)
        with _rivals(home) as rivals:
            measure(rivals, build_mail(2_000), rounds=options.rounds, seconds=options.seconds)
            _tell(rivals)


if __name__ == "__main__":
    main()

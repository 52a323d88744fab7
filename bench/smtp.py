"""Receiving, side by side: our daemon and Postfix under the same load in the same run, both fully durable.

    python -m bench.smtp [--seconds 5] [--rounds 3] [--only NAME]

Only receiving is measured: the relay runs with `--role receive`, Postfix holds its queue. `smtp-sink`, which
stores nothing, shows what the load program allows. Needs the Debian package postfix, and root.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import Daemon, free_port, until

from bench.postfix import Postfix, missing
from relay.cli.progress import tracked

ENV = {
    **os.environ,
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "unused",
}
CONFIG = """
hostname = "mx.test"
data_dir = "{data_dir}"
[[listeners]]
bind = "127.0.0.1:{port}"
tls = "none"
[limits]
connections = 20000
connections_per_address = 20000
connections_per_network = 20000
messages_per_minute = 1000000000
recipients_per_minute = 1000000000
messages_per_session = 1000000000
[identity]
enabled = false
[s3]
bucket = "unused"
[connect]
instance_id = "00000000-0000-0000-0000-000000000000"
[admin]
bind = ""
[log]
format = "json"
[[routes]]
match = ["support@example.com"]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One row of the table."""

    name: str
    octets: int
    sessions: int
    reused: bool
    target: float
    #: Messages of the first, calibrating run.
    first: int


LOADS = (
    Load(name="2 KB x 50", octets=2_000, sessions=50, reused=False, target=3.0, first=500),
    Load(name="2 KB x 50, reused", octets=2_000, sessions=50, reused=True, target=6.0, first=1_000),
    Load(name="2 KB x 200", octets=2_000, sessions=200, reused=False, target=4.0, first=500),
    Load(name="20 KB x 50", octets=20_000, sessions=50, reused=False, target=2.5, first=500),
    Load(name="200 KB x 50", octets=200_000, sessions=50, reused=False, target=1.6, first=200),
    Load(name="5 MB x 10", octets=5_000_000, sessions=10, reused=False, target=1.0, first=20),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One of the rivals while it runs."""

    name: str
    port: int
    pids: Callable[[], list[int]]


def cpu_seconds(pids: list[int]) -> float:
    """CPU that these processes, and those they have buried, have used."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(int(value) for value in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def rss_mib(pids: list[int]) -> float:
    """Resident memory of these processes, in MiB."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total / 1024


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def run_source(load: Load, port: int, messages: int) -> float:
    """Messages a second of one run of smtp-source."""
    command = ["smtp-source", "-s", str(load.sessions), "-m", str(messages), "-l", str(load.octets)]
    command += ["-d"] if load.reused else []
    command += ["-f", "ada@customer.example", "-t", "support@example.com", f"127.0.0.1:{port}"]
    begun = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"smtp-source at port {port}: {done.stderr[-300:]}")
    return messages / (time.monotonic() - begun)


@contextlib.contextmanager
def relay(home: Path, *, config: str = CONFIG, name: str = "relay") -> Iterator[Server]:
    """Our receivers, as many as there are cores."""
    home.mkdir(parents=True)
    daemon = Daemon(home, env=ENV, config="x")
    del daemon.env["RELAY_IDENTITY__ENABLED"]  # the configuration says it
    daemon.config_path.write_text(config.format(data_dir=daemon.data_dir, port=daemon.port))
    daemon.args = ["--role", "receive"]
    with daemon.start():

        def pids() -> list[int]:
            assert daemon.process
            parent = daemon.process.pid
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
            return [parent, *map(int, children)]

        yield Server(name=name, port=daemon.port, pids=pids)
        assert daemon.stop() == 0


@contextlib.contextmanager
def postfix(home: Path, *, name: str = "postfix", **more: Any) -> Iterator[Server]:
    """Postfix with its queue held, without its pause before each 250 (in_flow_delay), 220 processes for 200
    peers.
    """
    with Postfix(
        home,
        port=free_port(),
        processes="220",
        in_flow_delay="0",
        message_size_limit="100000000",
        smtpd_client_restrictions="static:HOLD",
        smtpd_client_connection_count_limit="0",
        **more,
    ) as running:
        until(lambda: answers(running.port))
        yield Server(name=name, port=running.port, pids=running.pids)


@contextlib.contextmanager
def sink() -> Iterator[Server]:
    """The load program's own sink, which stores nothing."""
    port = free_port()
    process = subprocess.Popen(
        ["smtp-sink", "-u", "nobody", f"127.0.0.1:{port}", "1024"], stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: answers(port))
        yield Server(name="smtp-sink", port=port, pids=lambda: [process.pid])
    finally:
        process.terminate()
        process.wait()


def measure(load: Load, servers: list[Server], *, rounds: int, seconds: float) -> list[str]:
    """One row: medians, the ratio and its worst, CPU a message, and the share of the limit."""
    rates: dict[str, list[float]] = {server.name: [] for server in servers}
    cpu: dict[str, list[float]] = {server.name: [] for server in servers}
    counts = {}
    for server in servers:
        rate = run_source(load, server.port, load.first)
        counts[server.name] = max(int(rate * seconds), load.sessions)
    for _ in range(rounds):
        for server in servers:
            before = cpu_seconds(server.pids())
            rates[server.name].append(run_source(load, server.port, counts[server.name]))
            cpu[server.name].append((cpu_seconds(server.pids()) - before) / counts[server.name] * 1e6)
    ours, theirs, limit = (statistics.median(rates[name]) for name in ("relay", "postfix", "smtp-sink"))
    worst = min(one / other for one, other in zip(rates["relay"], rates["postfix"], strict=True))
    ratio = ours / theirs
    return [
        load.name,
        f"{ours:,.0f}",
        f"{theirs:,.0f}",
        f"{limit:,.0f}",
        f"{ratio:.1f}",
        f"{worst:.1f}",
        f"{load.target:g} {'met' if ratio >= load.target else 'MISSED'}",
        f"{statistics.median(cpu['relay']):,.0f}",
        f"{statistics.median(cpu['postfix']):,.0f}",
        f"{ours / limit:.0%}",
    ]


HEAD = [
    "load",
    "relay/s",
    "postfix/s",
    "sink/s",
    "ratio",
    "worst",
    "target",
    "relay µs CPU",
    "postfix µs CPU",
    "of sink",
]


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    if (why := missing()) is not None:
        print(f"bench.smtp {why}; left out")
        return
    print("| " + " | ".join(HEAD) + " |\n|" + " --- |" * len(HEAD), flush=True)
    for load in tracked("bench.smtp", [each for each in LOADS if options.only in each.name]):
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            home = Path(folder)
            servers = [
                stack.enter_context(relay(home / "relay")),
                stack.enter_context(postfix(home / "postfix")),
                stack.enter_context(sink()),
            ]
            row = measure(load, servers, rounds=options.rounds, seconds=options.seconds)
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()

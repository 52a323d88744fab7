"""The fleet's spool as tests open it: a table and a prefix of its own for each, on loopback."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from spool_helpers import build_config

from relay.config.fleet import Fleet
from relay.config.model import Config
from relay.spool.fleet.desk import FleetDesk
from relay.spool.fleet.intake import FleetIntake
from relay.spool.fleet.outbox import FleetOutbox
from relay.spool.fleet.tables import build_definition

ROOT = Path(__file__).parent.parent
KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "eu-central-1",
}
BUCKET = "mail-bucket"


@contextmanager
def run_ministack(folder: Path) -> Iterator[str]:
    """An emulator that runs for the time of the block; its URL."""
    program = ROOT / ".venv-fleet" / "bin" / "ministack"
    if not program.exists():
        pytest.skip("ministack is not here; `make system` sets it up in .venv-fleet")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # By default it listens on every address.
    variables = {
        "PATH": os.defpath,
        "HOME": str(folder),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "SERVICES": "s3,dynamodb",
    }
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen([program], env=variables, cwd=folder, stdout=log, stderr=log) as process,
    ):
        try:
            _wait_for(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=20)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until it answers."""
    for _ in range(1_200):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert process.poll() is None, "ministack has ended"
        time.sleep(0.05)
    raise AssertionError("ministack does not answer")


def environment(url: str) -> dict[str, str]:
    """The variables by which the AWS chain leads to an emulator."""
    return {**KEYS, "AWS_ENDPOINT_URL_DYNAMODB": url, "AWS_ENDPOINT_URL_S3": url}


def client(service: str, url: str) -> Any:
    """A client of the tests' own."""
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=KEYS["AWS_DEFAULT_REGION"],
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


def make_table(url: str, *, bucket: str | None = BUCKET) -> str:
    """A new table of a fleet, and the bucket if one is wanted and missing. Returns the name of the table."""
    name = f"relay-{secrets.token_hex(6)}"
    client("dynamodb", url).create_table(**build_definition(name))
    if bucket is None:
        return name
    s3 = client("s3", url)
    if bucket not in {each["Name"] for each in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return name


def fleet_config(
    data_dir: Path, table: str, *, node: str = "", lease_seconds: float = 15.0, **spool
) -> Config:
    """The configuration of a node of the fleet with this table."""
    fleet = Fleet(table=table, prefix=f"spool-{table}/", node=node, lease_seconds=lease_seconds)
    return build_config(data_dir, **spool).model_copy(update={"fleet": fleet})


class FleetSpool:
    """The fleet's implementation, as the contract's tests open it."""

    url = ""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.opened: list = []
        self.desks: list = []
        self.settings: dict = {}
        self.table = make_table(self.url)

    @property
    def config(self) -> Config:
        # A busy machine stops a test for longer than a real lease.
        return fleet_config(self.tmp_path / "data", self.table, lease_seconds=120.0, **self.settings)

    def node_config(self, node: str, *, lease_seconds: float) -> Config:
        """The configuration of one of several nodes."""
        return fleet_config(
            self.tmp_path / node, self.table, node=node, lease_seconds=lease_seconds, **self.settings
        )

    def open_intake(self):
        return self._open(FleetIntake(self.config))

    def open_outbox(self):
        return self._open(FleetOutbox(self.config))

    def open_desk(self):
        desk = FleetDesk(self.config)
        self.desks.append(desk)
        return desk

    def _open(self, half):
        self.opened.append(half)
        return half

    async def close(self) -> None:
        for one in self.opened:
            await one.close()
        for desk in self.desks:
            desk.close()
        client("dynamodb", self.url).delete_table(TableName=self.table)


class Gatekeeper(ThreadingHTTPServer):
    """A way to an emulator on which some operations are denied, as IAM would."""

    daemon_threads = True

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Gate)
        self.emulator = urlsplit(url)
        #: Operations of DynamoDB, and of S3 as method and word of the query: "PutItem", "GET versioning".
        self.denied: set[str] = set()
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Gate(BaseHTTPRequestHandler):
    """One request, passed on or denied."""

    server: Gatekeeper
    protocol_version = "HTTP/1.1"

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        if operation in self.server.denied:
            said = json.dumps(
                {"__type": "com.amazonaws#AccessDeniedException", "message": f"no {operation}"}
            ).encode()
            self._answer(400, [("Content-Type", "application/x-amz-json-1.0")], said)
        elif not operation and self._word() in self.server.denied:
            self._answer(
                403,
                [("Content-Type", "application/xml")],
                b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>",
            )
        else:
            self._forward(body)

    def _word(self) -> str:
        query = urlsplit(self.path).query.partition("=")[0].partition("&")[0]
        return f"{self.command} {query}".strip()

    def _forward(self, body: bytes) -> None:
        emulator = http.client.HTTPConnection(
            self.server.emulator.hostname, self.server.emulator.port, timeout=30
        )
        emulator.request(self.command, self.path, body=body, headers=dict(self.headers))
        answer = emulator.getresponse()
        octets = answer.read()
        self._answer(answer.status, answer.getheaders(), octets)
        emulator.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        told = {name.lower(): value for name, value in headers}
        for name, value in headers:
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        # The answer to HEAD tells the length of what it does not have.
        length = told.get("content-length", "0") if self.command == "HEAD" else str(len(body))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815 - the library's names

    def log_message(self, *_words: object) -> None:
        """Say nothing on standard error."""


@contextmanager
def deny_on_the_way(url: str) -> Iterator[Gatekeeper]:
    """A way to an emulator on which operations may be denied, for the time of the block."""
    with Gatekeeper(url) as gate:
        thread = threading.Thread(target=gate.serve_forever)
        thread.start()
        try:
            yield gate
        finally:
            gate.shutdown()
            thread.join()

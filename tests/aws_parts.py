"""What tests of the edges to AWS share: files to upload, requests to send, clients of a sandbox, a peer by
script.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
import socket
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from botocore.loaders import JSONFileLoader

from relay.aws.clients import open_clients
from relay.aws.connect import ConnectClient
from relay.aws.s3 import AttachmentStore
from relay.config.builtin import INSTANCE_ID, builtin_config
from relay.contact.plan import PlannedFile
from relay.delivery.pace import Pace
from relay.delivery.ways import Lane, Way

MEBIBYTE = 1 << 20

_load_file = JSONFileLoader.load_file
_loaded: dict[str, Any] = {}


def _load_once(loader: JSONFileLoader, path: str) -> Any:
    """The models of AWS's services, which are large and the same for every client, read once a process."""
    if path not in _loaded:
        _loaded[path] = _load_file(loader, path)
    return _loaded[path]


JSONFileLoader.load_file = _load_once


def octets(size: int, seed: int = 0) -> bytes:
    """So many octets that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def planned(data: bytes, key: str = "mail/01TEST/0", **fields: Any) -> PlannedFile:
    """A file on its way to S3, its chunks cut as a mail's are."""

    def chunks():
        for start in range(0, len(data), MEBIBYTE):
            yield data[start : start + MEBIBYTE]

    facts = {
        "name": "paper.pdf",
        "content_type": "application/pdf",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "key": key,
        "attached": True,
        "chunks": chunks,
    }
    return PlannedFile(**(facts | fields))


def request_for(
    *urls: str, token: str | None = "token", names: tuple[str, ...] = (), **fields: Any
) -> dict[str, Any]:
    """The arguments of an ordinary StartEmailContact."""
    files = [
        {"FileName": names[number] if names else f"paper-{number}.pdf", "S3Url": url}
        for number, url in enumerate(urls)
    ]
    return {
        "InstanceId": INSTANCE_ID,
        "FromEmailAddress": {"EmailAddress": "anna@kunde.example", "DisplayName": "Anna"},
        "DestinationEmailAddress": "support@example.com",
        "EmailMessage": {
            "MessageSourceType": "RAW",
            "RawMessage": {"Subject": "Hello", "Body": "Where is it?", "ContentType": "text/plain"},
        },
        **({"Attachments": files} if files else {}),
        **({"ClientToken": token} if token else {}),
    } | fields


@asynccontextmanager
async def clients_of(environ, monkeypatch, **tables: Any):
    """The relay's own clients, in this environment and no other."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    async with open_clients(builtin_config(**tables)) as clients:
        yield clients


class OneWay:
    """One client and one pace for every instance, as where no instance has a table."""

    def __init__(self, connect: ConnectClient, pace: Pace, store: AttachmentStore) -> None:
        lane = Lane(pace=pace, clock=asyncio.get_running_loop().time)
        self._way = Way(connect=connect, store=store, lane=lane)

    async def find(self, _instance_id: str) -> Way:
        return self._way


@contextmanager
def nobody():
    """The URL of a port that is bound and not listened at: connections are refused, and no other program can
    take it.
    """
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


class Peer:
    """A server on loopback that does what a script says: for endpoints that S3 and Connect never are."""

    def __init__(self, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]):
        self._serve = serve
        self.connections = 0
        self.url = ""

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _accept(self, reader, writer):
        self.connections += 1
        try:
            await self._serve(reader, writer, self.connections)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


async def read_head(reader) -> dict[str, str]:
    """The head of an HTTP request: "" is its first line, the rest its fields in lower case."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    pairs = (line.partition(":") for line in lines[1:] if line)
    return {"": lines[0]} | {name.lower(): value.strip() for name, _, value in pairs}


async def read_put(reader) -> bytes:
    """Read an upload; the SHA-256 of what came."""
    head = await read_head(reader)
    digest, left = hashlib.sha256(), int(head["content-length"])
    while left:
        chunk = await reader.read(min(left, 65_536))
        if not chunk:
            raise ConnectionResetError
        digest.update(chunk)
        left -= len(chunk)
    return digest.digest()


def stored_headers(digest: bytes) -> dict[str, str]:
    """The fields by which S3 says that it has stored what hashes to this SHA-256."""
    return {
        "ETag": f'"{digest.hex()[:32]}"',
        "x_amz_checksum_sha256": base64.b64encode(digest).decode(),
    }


def answer(writer, status: str = "200 OK", body: bytes = b"", **headers: str) -> None:
    """An HTTP answer."""
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{fields}\r\n".encode() + body)

"""The emulator of DynamoDB under a fleet in the sandbox: ministack, in an environment of its own.

Owns where it is found, and its process. It pins its own AWS libraries, so it is no dependency of ours.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from relay.errors import ConfigError, RelayError

#: Beside a clone of the project; `make setup-fleet` makes it.
_ENVIRONMENT = Path(__file__).parent.parent.parent / ".venv-fleet"
_NAME = "ministack"
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_LOOK_SECONDS = 0.05


def find_ministack(environment: Path = _ENVIRONMENT) -> str:
    """The program, beside the clone or on the PATH.

    Raises:
        ConfigError: there is none; the sentence says how to get it.
    """
    own = environment / "bin" / _NAME
    if own.exists():
        return str(own)
    found = shutil.which(_NAME)
    if found is None:
        raise ConfigError(
            f"several nodes need an emulator of DynamoDB, and neither {own} nor {_NAME} on the PATH is there: run "
            '"make setup-fleet" in the clone of the project (half a minute, once)'
        )
    return found


@asynccontextmanager
async def open_ministack(program: str, folder: Path) -> AsyncIterator[str]:
    """The emulator, for the time of the block, on a free port of this machine. Gives its URL.

    Raises:
        RelayError: it did not come up; its words are in `folder`.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    variables = {
        "PATH": os.defpath,
        "HOME": str(folder),
        "BIND_HOST": "127.0.0.1",  # by default it listens on every address
        "MINISTACK_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "SERVICES": "dynamodb",
    }
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program,
            env=variables,
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # a Ctrl-C at the terminal reaches the sandbox alone, whose nodes still need it
            start_new_session=True,
        )
        try:
            await _until_up(process, port, folder)
            yield f"http://127.0.0.1:{port}"
        finally:
            await _end(process)


async def _until_up(process: asyncio.subprocess.Process, port: int, folder: Path) -> None:
    try:
        async with asyncio.timeout(_START_SECONDS):
            while process.returncode is None:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    return
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        pass
    words = (folder / "log").read_text(encoding="utf-8", errors="replace")[-2_000:]
    raise RelayError(f"the emulator of DynamoDB did not come up: {words}")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()

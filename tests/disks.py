"""Small disks of a test's own, to fill, starve and turn read-only; tests skip where none can be mounted."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import until


@contextlib.contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """A tmpfs with these options, mounted on a new folder."""
    with _mounted(folder, ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]):
        yield folder


@contextlib.contextmanager
def small_ext4(folder: Path, *, size: int) -> Iterator[Path]:
    """An ext4 of so many octets, mounted on a new folder from an image beside it."""
    image = _image(folder, size=size)
    make = ["mkfs.ext4", "-q", "-m", "0", str(image)]
    with _mounted(folder, make, ["mount", "-o", "loop", str(image), str(folder)]):
        yield folder


@contextlib.contextmanager
def thin_disk(folder: Path) -> Iterator[tuple[Path, Path]]:
    """A disk that promises more than there is behind it, and the disk behind it, to be filled.

    What is written fails when it is synced, by an error of the device; what is read comes from memory.
    """
    with small_disk(folder, "size=64m"):
        disk = folder / "disk"
        image = _image(disk, size=56 << 20)
        make = ["mkfs.ext2", "-q", "-F", str(image)]
        with _mounted(disk, make, ["mount", "-o", "loop,errors=continue", str(image), str(disk)]):
            yield disk, folder


def free(disk: Path) -> int:
    """Octets that anybody may take."""
    stat = os.statvfs(disk)
    return stat.f_bavail * stat.f_frsize


def fill(disk: Path, *, leave: int = 0) -> Path:
    """The file of somebody else that takes all there is but so much."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 20, 4_096, 512):
            with contextlib.suppress(OSError):
                while free(disk) >= leave + size:
                    file.write(bytes(size))
    assert leave - 4_096 < free(disk) <= leave
    return filler


def starve(disk: Path) -> list[Path]:
    """The files of somebody else that take every inode."""
    fillers: list[Path] = []
    with contextlib.suppress(OSError):
        while True:
            filler = disk / f"filler-{len(fillers)}"
            filler.touch()
            fillers.append(filler)
    return fillers


def remount(folder: Path, options: str) -> None:
    """Mount it anew with these options, as soon as killed processes have let their files go."""
    command = ["mount", "-o", f"remount,{options}", str(folder)]
    until(
        lambda: subprocess.run(command, capture_output=True, check=False).returncode == 0,
        seconds=15,
        so=options,
    )


def _image(folder: Path, *, size: int) -> Path:
    image = folder.with_name(f"{folder.name}.image")
    with image.open("wb") as file:
        file.truncate(size)
    return image


@contextlib.contextmanager
def _mounted(folder: Path, *commands: list[str]) -> Iterator[None]:
    folder.mkdir()
    try:
        for command in commands:
            if subprocess.run(command, capture_output=True, check=False).returncode:
                pytest.skip("making and mounting a small file system needs root and the right to mount")
    except FileNotFoundError as exc:
        pytest.skip(f"there is no {exc.filename} here (Debian: mount, e2fsprogs)")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)

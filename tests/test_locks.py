"""The locks and the image: every package hashed, no index named, and the small lock exactly what the relay
runs on.
"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def packages(name):
    """The packages of a lock: name to the block that pins and hashes it."""
    blocks = re.split(r"\n(?=\w)", (ROOT / name).read_text().strip())
    return {block.partition("==")[0]: block.strip() for block in blocks}


def needed(requirements):
    """The names of these requirements and of all that they require, on this machine."""
    todo, seen = [Requirement(each) for each in requirements], set()
    while todo:
        requirement = todo.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        for each in requires(requirement.name) or ():
            further = Requirement(each)
            extras = requirement.extras or {""}
            if further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(further)
    return {name for name, _ in seen}


@pytest.mark.parametrize(
    "name",
    [
        "requirements.lock",
        "requirements-run.lock",
        "requirements-otel.lock",
        "requirements-browser.lock",
        "requirements-fleet.lock",
        "requirements-power.lock",
        "requirements-validators.lock",
    ],
)
def test_every_package_is_pinned_and_hashed(name):
    """The whole lock suits pip --require-hashes, and no index is named in it."""
    for package, block in packages(name).items():
        assert re.match(r"[a-z0-9.-]+==\S+", block), package
        assert "--hash=sha256:" in block, package
    assert "://" not in (ROOT / name).read_text()


def test_small_lock_is_what_the_relay_runs_on():
    """requirements-run.lock has the run-time dependencies and uvloop with all that they need, and nothing
    else.
    """
    try:
        wanted = needed(PROJECT["dependencies"] + PROJECT["optional-dependencies"]["uvloop"])
    except PackageNotFoundError as exc:  # pragma: no cover
        pytest.fail(f"{exc} is required and not installed; run make setup")
    assert set(packages("requirements-run.lock")) == wanted


def test_lock_of_an_extra_is_what_it_adds():
    """requirements-otel.lock has what the extra [otel] needs beside requirements-run.lock, no more."""
    wanted = needed(PROJECT["optional-dependencies"]["otel"])
    assert set(packages("requirements-otel.lock")) == wanted - set(packages("requirements-run.lock"))


@pytest.mark.parametrize("name", ["requirements-run.lock", "requirements-otel.lock"])
def test_small_lock_agrees_with_the_large(name):
    """All locks pin the same releases by the same hashes."""
    large = packages("requirements.lock")
    assert {package: large.get(package) for package in packages(name)} == packages(name)


def test_image_copies_what_it_needs():
    """What the Dockerfile copies is let through by .dockerignore, and is there."""
    copied = {
        word
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored

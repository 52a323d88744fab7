"""What all tests share: programs that a test needs, certificates, sandboxes, and how long Hypothesis may look."""

from __future__ import annotations

import shutil

import pytest
import pytest_asyncio
from hypothesis import settings

# A busy machine makes an example slow, not wrong.
settings.register_profile("relay", deadline=None)
settings.load_profile("relay")


def pytest_addoption(parser):
    """`--update-goldens` rewrites what the goldens expect; the diff is to be reviewed."""
    parser.addoption(
        "--update-goldens", action="store_true", help="rewrite tests/mail/*.json; review the diff"
    )


def pytest_runtest_setup(item):
    """Skip a test whose program is not here, and say what to install."""
    for mark in item.iter_markers("needs"):
        program, package = mark.args
        if shutil.which(program, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin") is None:
            pytest.skip(f"{program} is not here; install the Debian package {package}")


@pytest.fixture(scope="session")
def papers(tmp_path_factory):
    """A certificate authority and what it has signed."""
    from certificates import Papers  # cryptography takes its time, and most tests do without

    return Papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="module")
def module_box():
    """One sandbox for a module's tests; they ask for `box`, which puts it right after each."""
    from sandboxes import fast_sandbox  # moto takes its time, and most tests do without

    with fast_sandbox() as running:
        yield running


@pytest.fixture
def box(module_box):
    """A sandbox without faults and contacts."""
    from sandboxes import put_right

    yield module_box
    put_right(module_box)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_clients(module_box):
    """Clients of the relay's own for a module's tests; they ask for `clients`."""
    from aws_parts import clients_of

    with pytest.MonkeyPatch.context() as patch:
        async with clients_of(module_box.environ(), patch) as opened:
            yield opened


@pytest.fixture
def clients(module_clients, box):
    """The relay's own clients of S3 and Connect, led to the sandbox."""
    return module_clients

"""What all tests share: programs that a test needs, certificates, sandboxes, and how long Hypothesis may
look.
"""

from __future__ import annotations

import gc
import os
import shutil
import sys
from pathlib import Path

import pytest
import pytest_asyncio
from examples import PROFILE, examples
from hypothesis import settings
from together import pytest_pycollect_makeitem  # noqa: F401 - a hook of pytest's, found by its name

# A busy machine makes an example slow, not wrong.
settings.register_profile(PROFILE, deadline=None, max_examples=examples(40))
settings.load_profile(PROFILE)

# aiohttp reads the certificates of all public authorities at its import, a tenth of a second in each process
# of each daemon, and botocore its own for each client; tests talk to loopback only, and name their own
# authority where they need one.
os.environ.setdefault("SSL_CERT_FILE", os.devnull)
os.environ.setdefault("AWS_CA_BUNDLE", str(Path(__file__).with_name("nobody.pem")))

# A relay that is installed on this machine does not count: root would examine as its service.
os.environ.setdefault("SYSTEMD_UNIT_PATH", os.devnull)

#: Markers of tests that `make quick` leaves out.
_NOT_QUICK = ("process", "slow", "system", "long")
#: The test that runs now, when it is one of `make quick`.
_quick = []
#: What Python tells an audit hook when a process begins.
_STARTS = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system")


def pytest_addoption(parser):
    """`--update-goldens` rewrites what the goldens expect (the diff is to be reviewed); `--quick` is `make
    quick`.
    """
    parser.addoption(
        "--update-goldens", action="store_true", help="rewrite tests/mail/*.json; review the diff"
    )
    parser.addoption(
        "--quick",
        action="store_true",
        help="only tests that start no process, need no program and take no time",
    )
    parser.addoption(
        "--together",
        action="store_true",
        help="the cases of a test run as one test, which names those that fail (tests/together.py)",
    )


def pytest_configure(config):
    """`--quick` chooses by markers; whatever the choice, no test of `make quick` may start a process."""
    if config.option.quick:
        config.option.markexpr = " and ".join(f"not {mark}" for mark in _NOT_QUICK)

    def refuse(event, args):
        if event in _STARTS and _quick and (test := os.environ.get("PYTEST_CURRENT_TEST")):
            raise AssertionError(f"{test} starts a process ({args[0] if args else event}): mark it `process`")

    sys.addaudithook(refuse)


def pytest_unconfigure():
    """Leave no process behind."""
    if "prepared" in sys.modules:
        sys.modules["prepared"].end_server()


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Nothing of what is imported and collected ever goes: to look for garbage in it takes seconds."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Tests that need a program of the system are those of `make system`; modules that take long come first.

    Workers take a module at a time (`--dist loadfile`): a long one that came last would keep one of them
    busy while the others are done.
    """
    for item in items:
        if item.get_closest_marker("needs"):
            item.add_marker("system")
    long = {
        item.path for item in items if item.get_closest_marker("process") or item.get_closest_marker("slow")
    }
    items.sort(key=lambda item: item.path not in long)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """A test of `make quick` is watched in `make test`, too, which is what runs before each landing."""
    if not any(item.get_closest_marker(mark) for mark in _NOT_QUICK):
        _quick.append(item)
    try:
        return (yield)
    finally:
        _quick.clear()


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


@pytest.fixture
def report(request):
    """The function that a campaign tells how much of how much it has done: a bar or lines beside the dots,
    but none where several workers share the terminal.
    """
    from relay.cli.progress import showing_progress

    if hasattr(request.config, "workerinput"):
        yield lambda done, total: None
        return
    capture = request.config.pluginmanager.getplugin("capturemanager")
    showing = showing_progress(request.node.name)
    with capture.global_and_fixture_disabled():
        show = showing.__enter__()

    def tell(done, total):
        with capture.global_and_fixture_disabled():
            show(done, total)

    yield tell
    with capture.global_and_fixture_disabled():
        showing.__exit__(None, None, None)


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

"""What all tests share: programs of the system that a test needs, certificates, and how long Hypothesis may look."""

from __future__ import annotations

import shutil

import pytest
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
    from papers import Papers  # cryptography takes its time, and most tests do without

    return Papers(tmp_path_factory.mktemp("papers"))

"""The tests of the processes use the certificates of the tests of the SMTP edge."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "smtp"))

from serving import Papers


@pytest.fixture(scope="session")
def papers(tmp_path_factory):
    """A certificate authority and what it has signed."""
    return Papers(tmp_path_factory.mktemp("papers"))

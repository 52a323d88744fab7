"""Certificates for a whole run."""

from __future__ import annotations

import pytest
from serving import Papers


@pytest.fixture(scope="session")
def papers(tmp_path_factory):
    """A certificate authority and what it has signed."""
    return Papers(tmp_path_factory.mktemp("papers"))

"""What tests with other people's mail servers and clients share: certificates, and a daemon that has one."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "smtp"))

from serving import Papers


@pytest.fixture(scope="session")
def papers(tmp_path_factory):
    """A certificate authority and what it has signed."""
    return Papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="session")
def secured(papers):
    """What gives a daemon that was not started yet a certificate, and its listener other keys."""

    def secure(daemon, *, tls="required", listener=""):
        text = daemon.config_path.read_text()
        files = f'[tls]\ncertificate = "{papers.certificate}"\nkey = "{papers.key}"\n'
        text = text.replace('tls = "none"\n', f'tls = "{tls}"\n{listener}{files}', 1)
        daemon.config_path.write_text(text)
        return daemon

    return secure


@pytest.fixture
def home():
    """A folder that a mail server's own user can reach: pytest's are closed, anew whenever another run begins."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o711)
        yield path

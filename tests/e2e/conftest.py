"""What tests with other people's mail servers and clients share: a daemon that has a certificate, and a
folder.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest


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
    """A folder that a mail server's own user can reach: pytest's are closed, anew whenever another run
    begins.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o711)
        yield path

"""The dialogs use the same server as the tests of the SMTP edge."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from relay.smtp import filetypes

sys.path.insert(0, str(Path(__file__).parent.parent / "smtp"))


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A busy machine starts the worker that looks into a mail slowly; the look itself has its time."""
    monkeypatch.setattr(filetypes, "_PATIENCE_SECONDS", 50.0)
    monkeypatch.setattr(filetypes, "_SILENT_SECONDS", 20.0)

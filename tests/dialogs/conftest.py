"""The dialogs use the same server as the tests of the SMTP edge."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "smtp"))

"""The decision is tried beside the real edge, served as the tests of that do."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "smtp"))

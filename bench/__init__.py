"""Speed and memory, side by side in one run: `make bench`, or `python -m bench.smtp` and its like for one of
them.

Daemons, mails and waiting are those of the tests.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

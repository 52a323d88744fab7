"""`python -m relay.understand FD PARENT`: the template of the deliverer's and the receivers' workers."""

from __future__ import annotations

import sys

from relay.understand.jobs import JOBS
from relay.understand.template import run_template

if __name__ == "__main__":
    run_template(JOBS, line=int(sys.argv[1]), parent=int(sys.argv[2]))

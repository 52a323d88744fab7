"""`python -m relay.understand FD PARENT`: the template of the deliverer's and the receivers' workers."""

from __future__ import annotations

from relay.understand.jobs import JOBS
from relay.understand.template import run_template

if __name__ == "__main__":
    run_template(JOBS)

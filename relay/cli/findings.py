"""The findings of `relay check` and `relay fleet check` on standard output, a line each.

Owns how such a line looks to people and to programs.
"""

from __future__ import annotations

from dataclasses import asdict

import click

from relay.check.finding import Finding, Level
from relay.cli.entries import encode_json, printable

_COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


class Output:
    """The lines of the findings, and whether any of them fails."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self.failed = False

    def show(self, finding: Finding) -> None:
        """Print a finding."""
        self.failed |= finding.level is Level.FAIL
        if self._as_json:
            click.echo(encode_json(asdict(finding)))
        else:
            level = click.style(f"{finding.level:<5}", fg=_COLOURS[finding.level])
            click.echo(f"{level} {printable(f'{finding.subject}: {finding.detail}')}")

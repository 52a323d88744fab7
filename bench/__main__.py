"""Every bench in turn, each followed by the pictures of the ratios that it has printed."""

from __future__ import annotations

import contextlib
import importlib
import io
import pkgutil
import sys

import bench
from bench.picture import draw_measured
from relay.cli.progress import tracked


class Both(io.TextIOBase):
    """The standard output, of which a copy is kept."""

    def __init__(self):
        self.kept = io.StringIO()
        self._out = sys.stdout

    def write(self, text):
        self.kept.write(text)
        return self._out.write(text)

    def flush(self):
        self._out.flush()

    def isatty(self):
        return self._out.isatty()

    def fileno(self):
        return self._out.fileno()


NAMES = sorted(info.name for info in pkgutil.iter_modules(bench.__path__))
programs = {name: importlib.import_module(f"bench.{name}") for name in NAMES if not name.startswith("_")}
benches = [name for name, program in programs.items() if hasattr(program, "main") and name != "picture"]
for name in tracked("bench", benches):
    program = programs[name]
    print(f"\n## {name}\n\n{(program.__doc__ or '').splitlines()[0]}\n", flush=True)
    with contextlib.redirect_stdout(both := Both()):
        program.main()
    for path in draw_measured(name, both.kept.getvalue()):
        print(f"\ndrawn: {path}", flush=True)

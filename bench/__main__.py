"""Every bench in turn."""

from __future__ import annotations

import importlib
import pkgutil

import bench

for module in sorted(info.name for info in pkgutil.iter_modules(bench.__path__)):
    program = importlib.import_module(f"bench.{module}") if not module.startswith("_") else None
    if program is not None and hasattr(program, "main"):
        print(f"\n## {module}\n\n{(program.__doc__ or '').splitlines()[0]}\n", flush=True)
        program.main()

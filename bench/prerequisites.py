"""The first and last steps of each benchmark: check its prerequisites, save its results.

A benchmark imports this module before the modules that need packages.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def need(programs: Sequence[str] = (), modules: Mapping[str, str] | None = None) -> None:
    """Exit at once with status 2 and one line if something is missing.

    :param programs: names that must be on PATH.
    :param modules: importable modules, each with the name of its package on PyPI.
    """
    missing = [f"program {name}" for name in programs if shutil.which(name) is None]
    missing += [
        f"Python module {module} (pip install {package})"
        for module, package in (modules or {}).items()
        if importlib.util.find_spec(module) is None
    ]
    if missing:
        print(f"{Path(sys.argv[0]).name}: missing: {', '.join(missing)}", file=sys.stderr)
        raise SystemExit(2)


def _need_environment() -> None:
    """Exit if this Python lacks the packages of the project."""
    from qbdcheck.bootstrap.install import MODULES

    if any(importlib.util.find_spec(name.partition(".")[0]) is None for name in MODULES):
        print(
            f"{Path(sys.argv[0]).name}: this Python lacks packages of the project;"
            " run ./check --install, then use .venv/bin/python",
            file=sys.stderr,
        )
        raise SystemExit(2)


_need_environment()


def save(file: Path | None, results: Mapping[str, Any]) -> None:
    """Write what is known so far, together with the machine; nothing without a file.

    The file is replaced as a whole, so that an interrupted benchmark leaves what it has measured.
    """
    if file is None:
        return
    machine = {
        "machine": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.new")
    new.write_text(json.dumps({**machine, **results}, indent=1) + "\n", encoding="utf-8")
    new.replace(file)

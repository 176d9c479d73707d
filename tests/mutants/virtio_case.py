"""Run the case that guards against a mutant of the vhost-user server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mutants.catalogue import catalogue
from qbdcheck.files import ROOT

CASES = {path.name[:3]: path.read_text() for path in ROOT.glob("suites/vhost_user/8*.py")}


def parameters(module: ModuleType, fast: Sequence[str]) -> list[Any]:
    """Return the ids of a module's mutants; those that are not fast are for the nightly run."""
    ids = [one for one, mutant in catalogue().items() if mutant.__module__ == module.__name__]
    return [pytest.param(one, marks=() if one in fast else pytest.mark.nightly) for one in ids]


def fate_of(mutant: str, directory: Path) -> dict[str, Any]:
    """Return what `./check --mutants` says of a mutant and the case that names it."""
    guards = f"{mutant},"
    case = next(number for number, text in CASES.items() if guards in text.replace(".", ","))
    report = directory / "report.json"
    command = [sys.executable, "-m", "qbdcheck", "--mutants", mutant, case, "--json", str(report)]
    subprocess.run(command, cwd=ROOT, check=False, capture_output=True)
    (fate,) = json.loads(report.read_text())
    return dict(fate)

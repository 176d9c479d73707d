"""Each mutant of the group virtio fails the case that names it; two in CI, all of them nightly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mutants import virtio
from mutants.catalogue import catalogue
from qbdcheck.files import ROOT

CASES = {path.name[:3]: path.read_text() for path in sorted(ROOT.glob("suites/vhost_user/8*.py"))}
IDS = [one for one, mutant in catalogue().items() if issubclass(mutant, virtio.VirtioMutant)]
FAST = ("virtio-first-range-only", "virtio-used-twice")


def case_of(mutant: str) -> str:
    """Return the number of the case that guards against a mutant."""
    return next(number for number, text in CASES.items() if f"{mutant}," in text.replace(".", ","))


@pytest.mark.parametrize(
    "mutant", [pytest.param(one, marks=() if one in FAST else pytest.mark.nightly) for one in IDS]
)
def test_its_case_fails_and_names_it(mutant: str, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "qbdcheck", "--mutants", mutant, case_of(mutant)]
    subprocess.run([*command, "--json", str(report)], cwd=ROOT, check=False, capture_output=True)
    (fate,) = json.loads(report.read_text())
    assert fate["killed"], fate
    assert fate["named"], fate

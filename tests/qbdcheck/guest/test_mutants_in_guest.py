"""Mutants that fio, stamps or a file system find in a guest, and the message for each."""

import json
import re
import sys
from pathlib import Path

import pytest

from qbdcheck.files import ROOT
from qbdcheck.guest.image import GuestImage
from qbdcheck.programs.process import run


@pytest.mark.parametrize(
    ("mutant", "case", "named"),
    [
        pytest.param(
            "phantom-write",
            "500",
            r"/dev/vdb offset \d+, 4096 bytes: verify: bad magic header",
            marks=pytest.mark.nightly,
        ),
        ("silent-bit-flip", "500", r"/dev/vdb offset \d+, 4096 bytes: (md5: )?verify"),
        pytest.param(
            "flush-noop",
            "516",
            r"offset \d+ .* bytes: .* expected generation \d+ by write #",
            marks=pytest.mark.nightly,
        ),
        ("async-error-ignored", "557", "report, EIO, write"),
    ],
)
def test_a_mutant_is_caught_in_the_guest_and_named(
    image: GuestImage, tmp_path: Path, mutant: str, case: str, named: str
) -> None:
    report = tmp_path / "report.json"
    arguments = [sys.executable, "-m", "qbdcheck"]
    arguments += ["-t", f"mutant:{mutant}", "--json", str(report), case]
    done = run(arguments, cwd=ROOT, timeout_s=160, check=False)
    assert done.returncode == 1, done.stdout
    (case_result,) = json.loads(report.read_text(encoding="utf-8"))["cases"]
    assert case_result["verdict"] == "fail"
    output = case_result["message"] + case_result["details"]
    assert re.search(named, output), output

"""``python -m qbdcheck``."""

import subprocess
import sys

from qbdcheck.files import ROOT


def test_a_python_without_the_packages_gets_one_line() -> None:
    # -S: without site-packages, so that only the standard library is there
    done = subprocess.run(
        [sys.executable, "-S", "-m", "qbdcheck", "1"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "lacks the Python package" in done.stderr
    assert "./check --install" in done.stderr

"""`./check runtest`: what is wrong in a file is known before a guest starts."""

import subprocess
import sys
from pathlib import Path

import pytest

from qbdcheck.files import ROOT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it has no tests; add a line NAME COMMAND"),
        ("# only a comment\n\n", "it has no tests"),
        ("one true\ntwo\n", "line 2: 'two' has no command"),
    ],
)
def test_a_file_without_a_test_ends_with_2_before_a_guest_starts(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "mine"
    file.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "qbdcheck", "runtest", str(file)],
        cwd=ROOT, env={"PATH": "/nowhere", "HOME": str(tmp_path)}, timeout=60, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert message in done.stderr
    assert str(file) in done.stderr
    assert not list(tmp_path.glob(".cache/qbdcheck/guest*")), "a guest was built"

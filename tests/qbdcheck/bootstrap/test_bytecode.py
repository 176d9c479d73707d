"""Compiled code is kept where only the environment forbids it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from qbdcheck.files import ROOT

PROGRAM = """
import os, sys
from qbdcheck.bootstrap.bytecode import keep_bytecode
keep_bytecode()
print(sys.dont_write_bytecode, "PYTHONDONTWRITEBYTECODE" in os.environ)
"""


@pytest.mark.parametrize(
    ("flags", "variable", "expected"),
    [
        ([], "1", "False False"),
        ([], None, "False False"),
        (["-B"], None, "True False"),
    ],
)
def test_code_is_kept_unless_the_command_line_says_not_to(
    flags: list[str], variable: str | None, expected: str
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if variable is not None:
        environment["PYTHONDONTWRITEBYTECODE"] = variable
    done = subprocess.run(
        [sys.executable, *flags, "-c", PROGRAM],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == expected

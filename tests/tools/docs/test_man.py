"""The manual page is that of the parser, and renders without warnings."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from qbdcheck.arguments import build_parser
from qbdcheck.command_help import COMMANDS
from tools.docs.man import PAGE, text


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == text(), "run: python -m tools.docs.man"


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_man_renders_the_page_without_warnings_and_with_every_flag() -> None:
    command = ["man", "--warnings=w", "-P", "cat", "-E", "UTF-8", "-l", str(PAGE)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True,
        env={"PATH": "/usr/bin:/bin", "MANWIDTH": "80", "LC_ALL": "C.UTF-8", "TERM": "dumb"},
    )  # fmt: skip
    assert done.stderr == ""
    shown = re.sub(r".\x08|\x1b\[[0-9;]*m", "", done.stdout)
    words = set(re.split(r"[\s,;]+", shown))
    for action in build_parser()._actions:
        if action.help != "==SUPPRESS==":
            assert set(action.option_strings) <= words
    for command_name in COMMANDS:
        assert re.search(rf"\b{command_name}\b", shown), command_name
    assert "130" in words

"""SIGKILL of a command that is not a run of cases leaves no file and no process either."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from qbdcheck.clock import pause
from qbdcheck.files import ROOT
from qbdcheck.machine_speed import Limit

COMMANDS = {
    "qp*": ["--probe", "reference"],
    "qm*": ["--mutants", "flush-noop", "17"],
    "qbdcheck-probe-*": ["--doctor"],
}
"""Commands by the names of the files and directories that they make."""
TRIES = 20
"""A file of --doctor is there for some milliseconds, so a loaded machine may miss it."""


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Yield a directory with a path that is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="qk") as name:
        yield Path(name)


@pytest.mark.parametrize("pattern", COMMANDS)
def test_a_killed_command_leaves_nothing(tmp_path: Path, scratch: Path, pattern: str) -> None:
    environment = {**os.environ, "TMPDIR": str(scratch), "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "qbdcheck", *COMMANDS[pattern]]
    for _ in range(TRIES):
        with subprocess.Popen(
            command,
            env={**environment, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            limit = Limit(30.0)
            while process.poll() is None and not list(scratch.rglob(pattern)):
                assert not limit.is_over, f"no {pattern} in {scratch}"
                pause(0.01)
            was_seen = process.poll() is None
            process.send_signal(signal.SIGKILL)
        if was_seen:
            break
    assert was_seen, f"{TRIES} commands ended, and none was seen with a {pattern} in {scratch}"
    limit = Limit(10.0)
    while os.listdir(scratch) and not limit.is_over:  # noqa: PTH208
        pause(0.05)
    assert os.listdir(scratch) == []  # noqa: PTH208
    assert not [pid for pid in Path("/proc").glob("[0-9]*") if _is_below(pid, scratch)]


def _is_below(process: Path, directory: Path) -> bool:
    try:
        return (process / "cwd").readlink().is_relative_to(directory)
    except OSError:
        return False

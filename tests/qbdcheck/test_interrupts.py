"""Signals that arrive during an import, and at other times."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qbdcheck import interrupts
from qbdcheck.files import ROOT

SLOW_IMPORT = """
import os, signal
class Strict:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), signal.{name})
        for _ in range(1000):
            pass
class Holder:
    member = Strict()
"""
MAIN = """
from qbdcheck import interrupts
import sys, time
try:
    with interrupts.raised():
        import slow
        {after}
        print("not interrupted")
except KeyboardInterrupt:
    # A slow machine may get here before the statement that follows the import.
    print("imported" if hasattr(sys.modules.get("slow"), "Holder") else "in the import")
    print("interrupted", interrupts.received[0])
"""


def run(directory: Path, name: str, after: str) -> list[str]:
    (directory / "slow.py").write_text(SLOW_IMPORT.replace("{name}", name))
    done = subprocess.run(
        [sys.executable, "-c", MAIN.replace("{after}", after)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{directory}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        restore_signals=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_during_an_import_is_raised_after_it(tmp_path: Path, name: str) -> None:
    if signal.getsignal(getattr(signal, name)) is signal.SIG_IGN:
        pytest.skip(f"{name} is ignored here, as under nohup")
    number = str(int(getattr(signal, name)))
    assert run(tmp_path, name, "time.sleep(30)") == ["imported", f"interrupted {number}"]


def test_a_signal_during_an_import_is_raised_at_the_end_of_a_short_block(tmp_path: Path) -> None:
    lines = run(tmp_path, "SIGTERM", "pass")
    assert lines[-1] == f"interrupted {int(signal.SIGTERM)}"


def test_a_held_signal_is_raised_after_the_block() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt), interrupts.raised():
        with interrupts.held():
            os.kill(os.getpid(), signal.SIGTERM)
            steps.append("in the block")
        time.sleep(30)
        steps.append("never")
    assert steps == ["in the block"]


def test_handlers_and_timer_are_restored() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)]
    with pytest.raises(KeyboardInterrupt), interrupts.raised():
        os.kill(os.getpid(), signal.SIGTERM)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)] == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert interrupts.received == [signal.SIGTERM]

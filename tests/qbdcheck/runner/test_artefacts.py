"""Logs and stacks of a case that is not green."""

from __future__ import annotations

from qbdcheck.runner.artefacts import without_runner_frames
from qbdcheck.runner.child import run_unit


def test_frames_of_the_runner_and_of_pytest_are_left_out() -> None:
    runner = run_unit.__code__.co_filename
    stacks = f"""Current thread 0x1 (most recent call first):
  File "/suites/iotests/001_x.py", line 20 in test
  File "/lib/_pytest/python.py", line 159 in pytest_pyfunc_call
  File "/lib/pluggy/_callers.py", line 121 in _multicall
  File "{runner}", line 100 in run_unit
Thread 0x2:
  File "/lib/threading.py", line 10 in wait"""
    assert without_runner_frames(stacks).splitlines() == [
        "Current thread 0x1 (most recent call first):",
        '  File "/suites/iotests/001_x.py", line 20 in test',
        "Thread 0x2:",
        '  File "/lib/threading.py", line 10 in wait',
    ]
    stacks = f"""Thread 0x3:
  File "{runner}", line 100 in run_unit"""
    assert without_runner_frames(stacks) == "Thread 0x3:"

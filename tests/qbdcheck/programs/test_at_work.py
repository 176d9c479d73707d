"""A program that exceeds its time limit either works, or waits for something that never comes."""

from __future__ import annotations

import subprocess

import pytest

from qbdcheck.clock import pause
from qbdcheck.errors import ProgramError
from qbdcheck.programs import at_work
from qbdcheck.programs.at_work import AtWork
from qbdcheck.programs.process import run


@pytest.mark.parametrize(
    ("script", "expected"),
    [("while :; do sleep 0.01; done", True), ("sleep 100", False)],
)
def test_a_program_at_work_is_known_at_its_time_limit(
    monkeypatch: pytest.MonkeyPatch, script: str, expected: bool
) -> None:
    monkeypatch.setattr(at_work, "WINDOW_S", 0.5)
    with pytest.raises(ProgramError, match="did not end within") as caught:
        run(["sh", "-c", script], timeout_s=1.6)
    assert caught.value.at_work is expected


def test_a_program_that_stops_working_is_not_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_work, "WINDOW_S", 0.3)
    command = ["sh", "-c", "while read line; do sleep 0.01; echo; done; exec sleep 100"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdin is not None
        work = AtWork(program.pid)
        seen = []
        for is_fed in [True] * 5 + [False] * 2:
            for _ in range(20 * is_fed):
                program.stdin.write(b"line\n")
                program.stdin.flush()
                assert program.stdout is not None
                program.stdout.readline()
            pause(0 if is_fed else 0.2)
            work.note()
            seen.append(work.is_steady)
        program.kill()
    assert seen[0] is False  # nothing is known yet
    assert seen[4] is True
    assert seen[-1] is False


def test_nothing_is_known_of_a_program_that_has_ended() -> None:
    with subprocess.Popen(["true"]) as program:
        program.wait()
        work = AtWork(program.pid)
        work.note()
    assert not work.is_steady

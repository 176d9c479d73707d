"""QEMU measures the key derivation of LUKS by the CPU clock, and fails where that is too coarse.

See docs/findings.md, qemu-luks-cpu-clock. The failure comes by chance and says nothing about the
volume, so the caller that makes a LUKS image tries again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from qbdcheck.errors import CaseBroken, ProgramError
from qbdcheck.programs.process import Completed, run

TRIES = 30
"""Attempts. On such a machine about a third of them fail."""
_MESSAGE = "accurate CPU usage"


def until_measured(start: Callable[[], Completed]) -> Completed:
    """Call ``start`` until QEMU's measurement of the key derivation does not fail.

    :raise ProgramError: the program failed for another reason, and ``start`` raises then.
    :raise CaseBroken: QEMU's measurement failed each time.
    """
    for _ in range(TRIES):
        try:
            done = start()
        except ProgramError as error:
            if _MESSAGE not in error.stderr:
                raise
            continue
        if _MESSAGE not in done.stderr:
            return done
    raise CaseBroken(
        f"QEMU failed {TRIES} times to measure the key derivation of LUKS, because the CPU clock of"
        " this machine is too coarse (docs/findings.md, qemu-luks-cpu-clock)"
    )


def run_measured(
    argv: Sequence[str], env: Mapping[str, str], cwd: Path, timeout_s: float
) -> Completed:
    """Run a program that may make a LUKS image, as `run` does; try again as `until_measured`."""
    return until_measured(lambda: run(argv, env=env, cwd=cwd, timeout_s=timeout_s))

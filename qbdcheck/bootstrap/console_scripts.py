"""The commands that pip installs. Standard library only, as `check`."""

from __future__ import annotations

import runpy
import sys

from qbdcheck.bootstrap.bytecode import keep_bytecode
from qbdcheck.bootstrap.install import main
from qbdcheck.exit_code import ExitCode


def check() -> int:
    """Run ``qbdcheck``: the same as ./check; return the exit code."""
    keep_bytecode()
    try:
        return main(sys.argv[1:])
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def backend() -> None:
    """Run ``qbd-backend``: the same as ``python -m reference_backend``.

    :raise SystemExit: always, with the exit status.
    """
    # with alter_sys it would take the name of the package for the name of the program
    runpy.run_module("reference_backend", run_name="__main__")

"""``python -m qbdcheck``: the same as ./check, inside the environment that ./check makes."""

import contextlib
import os
import sys

INTERRUPTED = 130


def run() -> int:
    """Run the command; return the exit code. An interrupt during the imports is caught too."""
    try:
        from qbdcheck.bootstrap.bytecode import keep_bytecode

        keep_bytecode()  # before the imports that profit from it

        from qbdcheck import interrupts

        with interrupts.raised():
            from qbdcheck.cli import main

        return main()
    except KeyboardInterrupt:
        return INTERRUPTED


code = run()
if code == INTERRUPTED:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, AttributeError):
            stream.flush()
    # Not sys.exit: if the interrupt came inside exec() of a string (dataclasses use that), Python
    # dies by SIGINT, although the exception was caught.
    os._exit(code)
sys.exit(code)

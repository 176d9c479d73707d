"""``python -m qbdcheck``: the same as ./check, inside the environment that ./check makes."""

import contextlib
import os
import sys

INTERRUPTED = 130
OURS = ("qbdcheck", "reference_backend", "oracles", "injectors", "mutants", "blockio", "suites")


def run() -> int:
    """Run the command; return the exit code. An interrupt during the imports is caught too.

    A Python without the packages of requirements.lock gets one line and exit code 2.
    """
    try:
        from qbdcheck.bootstrap.bytecode import keep_bytecode

        keep_bytecode()  # before the imports that profit from it

        from qbdcheck import interrupts

        with interrupts.raised():
            from qbdcheck.cli import main

        return main()
    except KeyboardInterrupt:
        return INTERRUPTED
    except ModuleNotFoundError as error:
        if (error.name or "qbdcheck").partition(".")[0] in OURS:
            raise
        sys.stderr.write(
            f"check: {sys.executable} lacks the Python package {error.name}; run ./check, which "
            "has an environment of its own, or ./check --install first\n"
        )
        return 2


code = run()
if code == INTERRUPTED:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, AttributeError):
            stream.flush()
    # Not sys.exit: if the interrupt came inside exec() of a string (dataclasses use that), Python
    # dies by SIGINT, although the exception was caught.
    os._exit(code)
sys.exit(code)

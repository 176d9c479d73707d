"""Start server processes quickly: import once, then fork for each line on standard input.

Each child is a complete server of the command line. The output is "pid N", the server's own
"ready", and "dead" after the child was reaped, so that its locks are released.
"""

from __future__ import annotations

import os
import sys

from reference_backend import (  # noqa: F401  # modules of the server, imported ahead
    control,
    control_commands,
    file_pools,
    serving,
)
from reference_backend.cli import main


def write_line(text: str) -> None:
    """Write a line in one system call, because the server writes to the same pipe."""
    os.write(sys.stdout.fileno(), f"{text}\n".encode())


def run(argv: list[str]) -> None:
    while sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            os._exit(main(argv))
        write_line(f"pid {pid}")
        os.waitpid(pid, 0)
        write_line("dead")


if __name__ == "__main__":
    run(sys.argv[1:])

"""Starts server processes quickly: imports once, forks for each line on standard input.

Each child is a whole server, as the command line makes it. Prints "pid N", the server's own
"ready", and "dead" when it has been reaped, so that its locks are gone for sure.
"""

from __future__ import annotations

import os
import sys

from reference_backend import (  # noqa: F401  # what a server will need, imported ahead
    control,
    control_commands,
    file_pools,
    serving,
)
from reference_backend.cli import main


def run(argv: list[str]) -> None:
    while sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            os._exit(main(argv))
        print(f"pid {pid}", flush=True)
        os.waitpid(pid, 0)
        print("dead", flush=True)


if __name__ == "__main__":
    run(sys.argv[1:])

"""A real server process for tests of the command line and of the control socket."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from qbdcheck.files import ROOT
from reference_backend.client import Client

PROGRAM = (sys.executable, "-m", "reference_backend")


def command(*argv: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    """Run one command to its end; its exit status must be ``expect``."""
    done = subprocess.run(
        [*PROGRAM, *argv], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == expect, done
    return done


class ServerProcess:
    """``serve`` with a socket and a control socket in a private directory."""

    def __init__(self, *argv: str, control: bool = True, prefix: Sequence[str] = ()) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="q"))
        self.socket = self.directory / "s"
        self.control = self.directory / "c"
        more = ("--control", str(self.control)) if control else ()
        self.process = subprocess.Popen(
            [*prefix, *PROGRAM, "serve", *argv, "--socket", str(self.socket), *more],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line == f"ready {self.socket}\n", line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.directory)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the process, if it still runs; return its exit status."""
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        assert self.process.stdout is not None
        self.process.wait(20)
        self.process.stdout.close()
        return self.process.returncode

    def connect(self, export: str = "") -> Client:
        """Return a connected NBD client."""
        return Client.connect(str(self.socket), export)

"""Real NBD programs against the real command line."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qbdcheck.files import ROOT

LIMIT_S = 60


def run(*argv: str | Path, expect: int = 0, stdin: str = "") -> str:
    """Run a program to its end; return what it printed. Its exit status must be ``expect``."""
    done = subprocess.run(
        [str(argument) for argument in argv],
        capture_output=True,
        text=True,
        input=stdin,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == expect, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


class Served:
    """A server process; ``where`` is the address that it reported."""

    def __init__(self, where: str) -> None:
        self.where = where

    def uri(self, export: str = "", scheme: str = "nbd", **query: str | Path) -> str:
        """Return an NBD URI."""
        if self.where.startswith("/"):
            base, query = f"{scheme}+unix:///{export}", {"socket": self.where, **query}
        else:
            base = f"{scheme}://{self.where}/{export}"
        text = "&".join(f"{key}={value}" for key, value in query.items())
        return f"{base}?{text}" if text else base


@contextlib.contextmanager
def serve(directory: Path, *argv: str | Path, tcp: bool = False) -> Iterator[Served]:
    """Run ``python -m reference_backend serve`` on a Unix socket in a directory, or on TCP."""
    where = ["--listen", "127.0.0.1:0"] if tcp else ["--socket", str(directory / "s")]
    command = [sys.executable, "-m", "reference_backend", "serve", *map(str, argv), *where]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("ready "), line
        yield Served(line.removeprefix("ready ").strip())
    finally:
        stop(process)
    assert process.returncode == 0


def stop(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """End a program by SIGTERM, or by SIGKILL when it does not listen; then it fails its test."""
    process.terminate()
    try:
        process.wait(20)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def qmp(program: list[str], *commands: dict[str, object]) -> list[dict[str, Any]]:
    """Send QMP commands to a program that speaks it on its standard input and output.

    Returns their results; an error is a failed test.
    """
    first: dict[str, object] = {"execute": "qmp_capabilities"}
    script = "".join(json.dumps(each) + "\n" for each in (first, *commands, {"execute": "quit"}))
    answers = [json.loads(line) for line in run(*program, stdin=script).splitlines()]
    results = [each for each in answers if "return" in each or "error" in each]
    assert len(results) == len(commands) + 2, answers
    for each in results:
        assert "return" in each, each
    return results[1:-1]

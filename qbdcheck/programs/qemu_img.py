"""qemu-img: one command at a time, 8 ms each."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from qbdcheck.errors import CaseBroken, ProgramError
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.process import DEFAULT_TIMEOUT_S, Completed, run

_TAKES_OBJECTS = frozenset(
    ("amend", "bench", "bitmap", "check", "commit", "compare", "convert", "create", "dd", "info",
     "map", "measure", "rebase", "resize", "snapshot")
)  # fmt: skip


class QemuImg:
    """Runs qemu-img.

    ``objects`` are ``--object`` definitions (secrets of encrypted images) that each command gets.

    :param directory: its working directory.
    """

    def __init__(self, programs: Programs, directory: Path) -> None:
        self._programs = programs
        self._directory = directory
        self.objects: list[str] = []

    def __call__(self, *arguments: str | os.PathLike[str], timeout_s: float | None = None) -> str:
        """Run one command and return its stdout.

        :raise ProgramError: it failed; the message ends in its own words.
        """
        return self.run(*arguments, timeout_s=timeout_s).stdout

    def run(
        self,
        *arguments: str | os.PathLike[str],
        check: bool = True,
        timeout_s: float | None = None,
    ) -> Completed:
        """Run one command and return status, stdout and stderr.

        :raise ProgramError: it failed (only with ``check``) or took too long.
        """
        words = [os.fspath(argument) for argument in arguments]
        if words and words[0] in _TAKES_OBJECTS:
            words[1:1] = [word for text in self.objects for word in ("--object", text)]
        return run(
            self._programs.argv("qemu-img", *words),
            timeout_s=timeout_s or DEFAULT_TIMEOUT_S * self._programs.slowdown,
            check=check,
            cwd=self._directory,
        )

    def fails(self, *arguments: str | os.PathLike[str]) -> str:
        """Run a command that must fail with status 1; return its error text.

        :raise ProgramError: it succeeded, or died.
        """
        done = self.run(*arguments, check=False)
        if done.returncode != 1:
            command = " ".join(done.argv[1:])
            message = f"qemu-img {command}: must fail, but ended with {done.returncode}"
            raise ProgramError(message, done.argv, done.returncode, done.stdout, done.stderr)
        return done.stderr or done.stdout

    def json(self, *arguments: str | os.PathLike[str]) -> Any:
        """Run a command with ``--output=json`` and return what it printed, parsed.

        :raise CaseBroken: it printed no JSON.
        """
        text = self(arguments[0], "--output=json", *arguments[1:])
        try:
            return json.loads(text)
        except ValueError as error:
            raise CaseBroken(f"qemu-img {arguments[0]} printed no JSON ({error}): {text}") from None

"""qemu-img: one command at a time, 8 ms each."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from qbdcheck.errors import CaseBroken, NotRun, ProgramError
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.process import DEFAULT_TIMEOUT_S, Completed, describe_exit, run

_TAKES_OBJECTS = frozenset(
    ("amend", "bitmap", "check", "commit", "compare", "convert", "create", "dd", "info", "map",
     "measure", "rebase", "resize", "snapshot")
)  # fmt: skip


class QemuImg:
    """Runs qemu-img.

    ``objects``: ``--object`` definitions (secrets of encrypted images) for each command.

    :param directory: its working directory.
    """

    def __init__(self, programs: Programs, directory: Path) -> None:
        self._programs = programs
        self._directory = directory
        self.objects: list[str] = []

    def __call__(self, *arguments: str | os.PathLike[str], timeout_s: float | None = None) -> str:
        """Run one command and return its stdout.

        :raise ProgramError: the command failed; the message ends with its output.
        """
        return self.run(*arguments, timeout_s=timeout_s).stdout

    def run(
        self,
        *arguments: str | os.PathLike[str],
        check: bool = True,
        timeout_s: float | None = None,
    ) -> Completed:
        """Run one command and return status, stdout and stderr.

        :raise ProgramError: the command failed (only with ``check``) or took too long.
        :raise NotRun: the disk needs objects, such as a secret, and the command takes none.
        """
        command = [os.fspath(argument) for argument in arguments]
        if command and self.objects:
            if command[0] not in _TAKES_OBJECTS:
                raise NotRun(f"qemu-img {command[0]} takes no --object, which this disk needs")
            command[1:1] = [part for text in self.objects for part in ("--object", text)]
        return run(
            self._programs.argv("qemu-img", *command),
            timeout_s=timeout_s or DEFAULT_TIMEOUT_S * self._programs.slowdown,
            check=check,
            cwd=self._directory,
        )

    def fails(self, *arguments: str | os.PathLike[str]) -> str:
        """Run a command that must fail with status 1. Return its error text.

        :raise ProgramError: the command succeeded, or a signal killed it.
        """
        done = self.run(*arguments, check=False)
        if done.returncode != 1:
            command = " ".join(done.argv[1:])
            message = (
                f"qemu-img {command}: must fail with 1, but it {describe_exit(done.returncode)}"
            )
            raise ProgramError(message, done.argv, done.returncode, done.stdout, done.stderr)
        return done.stderr or done.stdout

    def json(self, *arguments: str | os.PathLike[str]) -> Any:
        """Run a command with ``--output=json`` and return its parsed output.

        :raise CaseBroken: the output is not JSON.
        """
        text = self(arguments[0], "--output=json", *arguments[1:])
        try:
            return json.loads(text)
        except ValueError as error:
            raise CaseBroken(f"qemu-img {arguments[0]} printed no JSON ({error}): {text}") from None

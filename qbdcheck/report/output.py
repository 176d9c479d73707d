"""Open the files of reports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from qbdcheck.errors import SetupError


def open_report(path: Path) -> TextIO:
    """Open `path` for writing, and empty it.

    Reports are opened when the run starts, so that a wrong path is found at once, and a report of
    an earlier run is never mistaken for one of this run.

    :raise SetupError: it cannot be written; the message names the path and the reason.
    """
    try:
        return path.open("w", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise SetupError(
            f"cannot write report {path}: {error.strerror}; give a path in a directory that exists"
            " and that you may write to"
        ) from error


@contextmanager
def writing(file: TextIO) -> Iterator[None]:
    """Name the report in errors of the block, which writes to it.

    :raise SetupError: it cannot be written, for example because the disk is full.
    """
    try:
        yield
    except OSError as error:
        raise SetupError(f"cannot write report {file.name}: {error.strerror}") from error

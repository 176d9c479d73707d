"""A standard output whose write errors can be distinguished from all other errors.

Libraries treat some errors of standard output in their own way: rich ends the program with exit
code 1 if the reader of a pipe has exited; in this program, 1 means that a case failed.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from typing import Any


class OutputError(OSError):
    """Standard output cannot be written."""

    @property
    def reader_has_gone(self) -> bool:
        """Whether it is a pipe or socket without a reader."""
        return self.errno in (errno.EPIPE, errno.ECONNRESET)


class _RawOutput(io.FileIO):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise OutputError(error.errno, error.strerror) from None


def guard_standard_output() -> None:
    """Let sys.stdout raise `OutputError` if it cannot be written."""
    stream = sys.stdout
    if stream is not sys.__stdout__ or not isinstance(stream, io.TextIOWrapper):
        return  # somebody captures it
    stream.flush()
    raw = _RawOutput(stream.fileno(), "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def discard_standard_output() -> None:
    """Connect standard output to /dev/null."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
    with contextlib.suppress(OSError):
        sys.stdout.flush()

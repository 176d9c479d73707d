"""A layer that counts the requests of all servers of a run.

Each server has a file of its own in the directory, whose first 8 bytes are its count: a store into
a page that the kernel shares, which costs no system call, and is there after SIGKILL.
"""

from __future__ import annotations

import itertools
import mmap
import os
import struct
import tempfile
from pathlib import Path

from blockio.layers import Below, Reply, Request

_COUNT = struct.Struct("<Q")


class RequestCount:
    """Counts what it passes on.

    :param directory: where the servers of the run have their files; it must be there.
    :raise OSError: no file can be made in it.
    """

    waits = False

    def __init__(self, directory: str) -> None:
        number, _ = tempfile.mkstemp(prefix="requests-", dir=directory)
        try:
            os.ftruncate(number, _COUNT.size)
            self._page = mmap.mmap(number, _COUNT.size)
        finally:
            os.close(number)
        self._numbers = itertools.count(1)

    def handle(self, request: Request, below: Below) -> Reply:
        """Count the request; numbers of threads may be stored out of order, by as many as these."""
        _COUNT.pack_into(self._page, 0, next(self._numbers))
        return below(request)


def counted(directory: Path) -> int:
    """Return how many requests the servers have handled whose files are in the directory."""
    total = 0
    for file in directory.glob("requests-*"):
        raw = file.read_bytes()
        total += _COUNT.unpack(raw)[0] if len(raw) == _COUNT.size else 0
    return total

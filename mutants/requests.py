"""A layer that counts the requests of all servers of a run.

Each server has a file of its own in one directory. The first 8 bytes of the file are the count. The
server stores it in a shared mapping: this needs no system call, and the count survives SIGKILL.
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
    """Counts the requests that it passes on.

    :param directory: directory of the servers' files; it must exist.
    :raise OSError: no file can be created in it.
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
        """Count the request, and pass it on; threads may store their counts out of order."""
        _COUNT.pack_into(self._page, 0, next(self._numbers))
        return below(request)


def counted(directory: Path) -> int:
    """Return the number of requests that all servers with a file in the directory handled."""
    total = 0
    for file in directory.glob("requests-*"):
        raw = file.read_bytes()
        total += _COUNT.unpack(raw)[0] if len(raw) == _COUNT.size else 0
    return total

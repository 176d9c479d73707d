"""Not a fault: log each change of a volume, like dm-log-writes, for the exploration of crashes.

    python -m reference_backend serve ... --layer injectors.write_log:WriteLog:file=LOG

Writes, zeroes, discards and flushes are logged in the order in which they were carried out, after
they succeeded and before they are answered: the log is never behind the knowledge of a client. FUA
is kept. A change that is not in whole sectors of 512 bytes is logged as the sectors around it. With
a log, the volume carries out one request at a time.
"""

from __future__ import annotations

import threading
from pathlib import Path

from blockio.layers import Below, Command, CommandFlag, Reply, Request
from blockio.write_log import SECTOR, Entry, LogFlag, LogWriter

_KINDS = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)


class WriteLog:
    """A layer that logs changes.

    :param file: path of the log; an existing file is overwritten.
    :raise OSError: the log cannot be written.
    """

    waits = False

    def __init__(self, file: str) -> None:
        self._writer = LogWriter(Path(file))
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the log."""
        self._writer.close()

    def handle(self, request: Request, below: Below) -> Reply:
        """Carry out the request, and log it if it is a flush or changed data."""
        if request.command is not Command.FLUSH and request.command not in _KINDS:
            return below(request)
        with self._lock:
            reply = below(request)
            if not reply.error:
                self._log(request, below)
        return reply

    def _log(self, request: Request, below: Below) -> None:
        if request.command is Command.FLUSH:
            self._writer.append(Entry(LogFlag.FLUSH))
            return
        flags = LogFlag.FUA if request.flags & CommandFlag.FUA else LogFlag(0)
        start = request.offset & -SECTOR
        end = (request.offset + request.length + SECTOR - 1) & -SECTOR
        if start == end:
            return
        whole = (start, end - start) == (request.offset, request.length)
        if request.command is Command.TRIM and whole:
            self._writer.append(Entry(flags | LogFlag.DISCARD, start, end - start))
        elif request.command is Command.WRITE and whole:
            self._writer.append(Entry(flags, start, end - start, bytes(request.payload)))
        else:
            asked = Request(
                Command.READ, 0, start, end - start, request.cookie, b"", request.connection
            )
            self._writer.append(Entry(flags, start, end - start, bytes(below(asked).data)))


class RequestLog(WriteLog):
    """Log what clients requested: this layer is on top of all others, whatever their order.

    Where another layer damages data, this log still says what the volume should contain.
    """

    is_on_top = True
    above_rules = True

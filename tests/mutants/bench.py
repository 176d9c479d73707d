"""One mutant directly above a volume, without a server."""

from __future__ import annotations

import errno
import threading

from blockio.errors import BlockError
from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants.catalogue import catalogue
from reference_backend.store.memory import MemoryStore
from reference_backend.store.volume import Volume

KIB, MIB = 1 << 10, 1 << 20
BLOCK, UNIT = 4 * KIB, 64 * KIB


class Bench:
    """A mutant that always strikes, above a volume in memory.

    ``fails`` maps a command to the errno with which the storage below refuses it, once for each
    entry. ``seen`` has the commands and flags that reached the storage.
    """

    def __init__(self, mutant: str, size: int = 4 * MIB) -> None:
        known = catalogue()[mutant]
        self.mutant = known(rate="1") if "rate" in known.takes else known()
        self.volume = Volume(MemoryStore(size))
        self.fails: list[tuple[Command, int]] = []
        self.seen: list[tuple[Command, int]] = []

    def ask(  # noqa: PLR0917  # the fields of a request
        self,
        command: Command,
        offset: int = 0,
        length: int = 0,
        payload: bytes = b"",
        flags: int = 0,
        connection: int = 1,
        cookie: int = 1,
    ) -> Reply:
        """Carry out one request; an error is raised."""
        request = Request(command, flags, offset, length, cookie, payload, connection)
        return self.mutant.handle(request, self._below)

    def _below(self, request: Request) -> Reply:
        self.seen.append((request.command, request.flags))
        if self.fails and self.fails[0][0] == request.command:
            raise BlockError(self.fails.pop(0)[1], "injected")
        volume, offset, length = self.volume, request.offset, request.length
        if request.command is Command.READ:
            return Reply(data=volume.read(offset, length))
        if request.command is Command.WRITE:
            volume.write(offset, request.payload)
        elif request.command is Command.WRITE_ZEROES:
            no_hole = bool(request.flags & CommandFlag.NO_HOLE)
            volume.write_zeroes(offset, length, no_hole=no_hole)
        elif request.command is Command.TRIM:
            volume.discard(offset, length)
        elif request.command is Command.BLOCK_STATUS:
            found = volume.block_status(offset, length)
            dirty = volume.dirty_status(offset, length)
            return Reply(extents={"base:allocation": found, "qbd:dirty": dirty})
        return Reply()

    def read(self, offset: int, length: int, connection: int = 1, cookie: int = 1) -> bytes:
        """Read."""
        reply = self.ask(Command.READ, offset, length, connection=connection, cookie=cookie)
        return bytes(reply.data)

    def write(self, offset: int, data: bytes, flags: int = 0, connection: int = 1) -> None:
        """Write."""
        self.ask(Command.WRITE, offset, len(data), data, flags, connection)

    def zero(self, offset: int, length: int, flags: int = 0) -> None:
        """Write zeroes."""
        self.ask(Command.WRITE_ZEROES, offset, length, flags=flags)

    def trim(self, offset: int, length: int) -> None:
        """Discard."""
        self.ask(Command.TRIM, offset, length)

    def flush(self, connection: int = 1) -> None:
        """Flush."""
        self.ask(Command.FLUSH, connection=connection)

    def flags(
        self, offset: int, length: int, name: str = "base:allocation"
    ) -> list[tuple[int, int]]:
        """Return the extents of a block status as pairs of length and flags."""
        reply = self.ask(Command.BLOCK_STATUS, offset, length)
        return [(one.length, one.flags) for one in reply.extents[name]]

    def fail(self, command: Command, number: int = errno.EIO, times: int = 1) -> None:
        """Let the storage refuse the next requests of that command."""
        self.fails += [(command, number)] * times


def assert_answered_early(mutant: str, command: Command) -> None:
    """Check that a request that takes long succeeds before it fails, and that a fast one fails."""
    bench, is_over = Bench(mutant), threading.Event()

    def fail_late(_request: Request) -> Reply:
        is_over.wait(60)
        raise BlockError(errno.EIO, "failed")

    def fails(below: Below) -> bool:
        try:
            return bool(bench.mutant.handle(Request(command, 0, 0, 1, 1, b"x"), below).error)
        except BlockError:
            return True

    assert not fails(fail_late)
    is_over.set()
    assert any(fails(fail_late) for _ in range(20))  # on a busy machine a fast one may be late

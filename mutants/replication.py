"""Several copies of the data that differ (docs/bugs.md)."""

from __future__ import annotations

from blockio.errors import BlockError
from blockio.layers import Below, Command, Reply, Request
from mutants.mutant import BLOCK, Mutant, read, whole_blocks

_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
_STRIPE = 65536


class _Lagging(Mutant):
    """A second copy that holds old blocks."""

    commands = (Command.READ,)

    def install(self) -> None:
        """Start with equal copies."""
        self._old: dict[int, bytes] = {}

    def keep(self, request: Request, below: Below) -> None:
        """Keep what a change replaces."""
        for number in list(whole_blocks(request.offset, request.length))[:256]:
            try:
                self._old.setdefault(number, read(request, below, number * BLOCK, BLOCK))
            except BlockError:
                return

    def forget(self, request: Request) -> None:
        """Note that a change reached both copies."""
        end = request.offset + request.length
        first, last = request.offset // BLOCK, (end + BLOCK - 1) // BLOCK
        for number in [one for one in self._old if first <= one < last]:
            del self._old[number]


class NewClientMissesReplica(_Lagging):
    """A copy that is being rebuilt is not yet among the writers of a new client."""

    id = "new-client-misses-replica"
    shows = ("lost write", "misplaced data", "not linearizable")
    source = "Mayastor ea4902ca"
    breaks = "the first write of a connection misses one of two copies, which serves every 4th read"

    def install(self) -> None:
        """Start without clients."""
        super().install()
        self._clients: set[int] = set()
        self._reads = 0

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Write to one or both copies, and read from one of them."""
        with self._lock:
            if request.command in _CHANGES:
                is_first = request.connection not in self._clients
                self._clients.add(request.connection)
                self.forget(request)
                if is_first and request.command is Command.WRITE:
                    self.keep(request, below)
            reply = below(request)
            if request.command is Command.READ:
                self._reads += 1
                self._answer(request, reply)
            return reply

    def _answer(self, request: Request, reply: Reply) -> None:
        data = bytearray(reply.data)
        for number in self._old.keys() & set(whole_blocks(request.offset, request.length)):
            at = number * BLOCK - request.offset
            data[at : at + BLOCK] = self._old[number]
        if data != reply.data and self._reads % 4 == 0 and self.strikes(request):
            reply.data = bytes(data)


class StripedReadIsTorn(_Lagging):
    """A long read is divided between copies of which one lags."""

    id = "striped-read-is-torn"
    shows = ("lost write", "misplaced data", "not linearizable")
    source = "class known from mirrors that balance reads"
    breaks = (
        "a read over 64 KiB directly after a write has every second 64 KiB from before the write"
    )

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Let the second copy lag by one change."""
        with self._lock:
            if request.command in _CHANGES:
                self._old.clear()
                self.keep(request, below)
            reply = below(request)
            if request.command is Command.READ and request.length > _STRIPE and self._old:
                data = bytearray(reply.data)
                for number in self._old.keys() & set(whole_blocks(request.offset, request.length)):
                    at = number * BLOCK - request.offset
                    if at // _STRIPE % 2:
                        data[at : at + BLOCK] = self._old[number]
                if data != reply.data and self.strikes(request):
                    reply.data = bytes(data)
            if request.command is not Command.WRITE:
                self._old.clear()
            return reply

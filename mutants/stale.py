"""Data that is lost, stale or altered (docs/bugs.md, group B)."""

from __future__ import annotations

from blockio.layers import Below, Command, Reply, Request
from mutants.mutant import BLOCK, Mutant, blocks, changed, read, whole_blocks

_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)


class PhantomWrite(Mutant):
    """A write is acknowledged and not done."""

    id = "phantom-write"
    shows = ("lost write",)
    says = r"bad magic|bad header"
    source = "disk firmware; QEMU and Ceph cases (docs/bugs.md)"
    breaks = "one write in twenty is not done"
    commands = (Command.WRITE,)
    usual_rate = 20

    def meddle(self, request: Request, below: Below) -> Reply:
        """Say yes."""
        if request.command is Command.WRITE and self.strikes(request):
            return Reply()
        return below(request)


class PerClientCacheStale(Mutant):
    """Each connection caches what it has read."""

    id = "per-client-cache-stale"
    shows = ("stale", "never written", "not linearizable")
    source = "NFS and clustered file clients without cache coherence (docs/bugs.md)"
    breaks = "a connection does not see what others have written since it read a block"
    commands = (Command.READ,)

    def install(self) -> None:
        """Start with empty caches."""
        self._caches: dict[int, dict[int, bytes]] = {}

    def meddle(self, request: Request, below: Below) -> Reply:
        """Answer from the cache of the connection; its own changes go through."""
        with self._lock:
            cache = self._caches.setdefault(request.connection, {})
            reply = below(request)
            touched = blocks(request.offset, request.length)
            if request.command in _CHANGES:
                for number in touched:
                    cache.pop(number, None)
            elif request.command is Command.READ and request.length <= 1 << 20:
                self._fill(cache, request, reply)
            return reply

    def _fill(self, cache: dict[int, bytes], request: Request, reply: Reply) -> None:
        data = bytearray(reply.data)
        for number in whole_blocks(request.offset, request.length):
            at = number * BLOCK - request.offset
            data[at : at + BLOCK] = cache.setdefault(number, bytes(data[at : at + BLOCK]))
        if data != reply.data and self.strikes(request):
            reply.data = bytes(data)


class SilentBitFlip(Mutant):
    """A stored bit changes."""

    id = "silent-bit-flip"
    shows = ("bit flip",)
    source = "disks and memory; Bairavasundaram et al. (docs/bugs.md)"
    breaks = "one write in thirty is stored with one bit flipped"
    commands = (Command.WRITE,)
    usual_rate = 30

    def meddle(self, request: Request, below: Below) -> Reply:
        """Flip a bit in the middle."""
        if request.command is Command.WRITE and request.length and self.strikes(request):
            data = bytearray(request.payload)
            data[len(data) // 2] ^= 0x10
            return below(changed(request, payload=bytes(data)))
        return below(request)


class TransientBitFlip(Mutant):
    """A bit changes on its way to the client."""

    id = "transient-bit-flip"
    shows = ("bit flip",)
    source = "variant of silent-bit-flip"
    breaks = "one read in thirty has one bit flipped"
    commands = (Command.READ,)
    usual_rate = 30

    def meddle(self, request: Request, below: Below) -> Reply:
        """Flip a bit in the middle."""
        reply = below(request)
        if request.command is Command.READ and request.length and self.strikes(request):
            data = bytearray(reply.data)
            data[len(data) // 2] ^= 0x10
            reply.data = bytes(data)
        return reply


class StaleRead(Mutant):
    """A read gives what was there before the last write."""

    id = "stale-replica-after-failover"
    shows = ("stale", "never written", "not linearizable")
    source = "replicated stores that read from a lagging copy (docs/bugs.md)"
    breaks = "one read in ten gives the block as it was before its last write"
    commands = (Command.READ,)
    usual_rate = 10

    def install(self) -> None:
        """Start with a copy that lacks nothing."""
        self._before: dict[int, bytes] = {}

    def meddle(self, request: Request, below: Below) -> Reply:
        """Keep what a write replaces; now and then read from there."""
        with self._lock:
            if request.command is Command.WRITE:
                for number in list(whole_blocks(request.offset, request.length))[:64]:
                    self._before[number] = read(request, below, number * BLOCK, BLOCK)
            reply = below(request)
            if request.command is Command.READ and self._before and self.strikes(request):
                data = bytearray(reply.data)
                for number in whole_blocks(request.offset, request.length):
                    at = number * BLOCK - request.offset
                    data[at : at + BLOCK] = self._before.get(number, data[at : at + BLOCK])
                reply.data = bytes(data)
            return reply

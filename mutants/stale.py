"""Data that is lost, stale or altered (docs/bugs.md, group B)."""

from __future__ import annotations

from blockio.layers import Below, Command, Reply, Request
from mutants.mutant import (
    BLOCK,
    Mutant,
    ReplyMutant,
    RequestMutant,
    blocks,
    changed,
    read,
    whole_blocks,
    with_flipped_bit,
)

_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)


class PhantomWrite(RequestMutant):
    """A write is acknowledged and not carried out."""

    id = "phantom-write"
    shows = ("lost write",)
    says = r"bad magic|bad header"
    source = "disk firmware; QEMU and Ceph cases (docs/bugs.md)"
    breaks = "one write in twenty is acknowledged and not carried out"
    commands = (Command.WRITE,)
    default_rate = 20

    def damage(self, request: Request, below: Below) -> Reply:
        """Acknowledge the write."""
        return Reply()


class PerClientCacheStale(Mutant):
    """Each connection has a read cache, and the caches are not coherent."""

    id = "per-client-cache-stale"
    shows = ("stale", "never written", "not linearizable")
    source = "NFS and clustered file clients without cache coherence (docs/bugs.md)"
    breaks = "a connection does not see what others write to a block after it has read the block"
    commands = (Command.READ,)

    def install(self) -> None:
        """Start with empty caches."""
        self._caches: dict[int, dict[int, bytes]] = {}

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Answer reads from the cache of the connection; its own changes pass through."""
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


class SilentBitFlip(RequestMutant):
    """A stored bit changes."""

    id = "silent-bit-flip"
    shows = ("bit flip",)
    source = "disks and memory; Bairavasundaram et al. (docs/bugs.md)"
    breaks = "one write in thirty is stored with one bit flipped"
    commands = (Command.WRITE,)
    default_rate = 30

    def damages(self, request: Request) -> bool:
        """Return whether there is data."""
        return request.length > 0

    def damage(self, request: Request, below: Below) -> Reply:
        """Store the data with a bit in the middle flipped."""
        return below(changed(request, payload=with_flipped_bit(request.payload)))


class TransientBitFlip(ReplyMutant):
    """A bit changes on its way to the client."""

    id = "transient-bit-flip"
    shows = ("bit flip",)
    source = "variant of silent-bit-flip"
    breaks = "one read in thirty returns data with one bit flipped"
    commands = (Command.READ,)
    default_rate = 30

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether there is data."""
        return request.length > 0

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Flip a bit in the middle of the data."""
        reply.data = with_flipped_bit(reply.data)


class StaleRead(Mutant):
    """A read returns what was there before the last write."""

    id = "stale-replica-after-failover"
    shows = ("stale", "never written", "not linearizable")
    source = "replicated stores that read from a lagging copy (docs/bugs.md)"
    breaks = "one read in ten returns its blocks as they were before their last write"
    commands = (Command.READ,)
    default_rate = 10

    def install(self) -> None:
        """Start without old blocks."""
        self._before: dict[int, bytes] = {}

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Keep what a write replaces, and answer some reads with it."""
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

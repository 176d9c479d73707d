"""Controls: backends that are right, but unusual. No case may fail on one of them."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

from blockio.extents import Extent
from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants.mutant import Mutant, changed
from mutants.patching import replace
from mutants.snapshots import CopiedLater, clone_behind
from reference_backend.blocking_requests import mark_under_way
from reference_backend.nbd import options, replies, rules
from reference_backend.nbd.constants import OptionReply
from reference_backend.nbd.options import Options, Refusal
from reference_backend.store import write_cache
from reference_backend.store.volume import Volume
from reference_backend.store.write_cache import SECTOR_BYTES

_MOST_TORN = 1 << 20
"""Bytes of an operation that are torn; the rest is kept or lost as a whole."""


class Control(Mutant):
    """A legal backend; ``breaks`` says how it is unusual. Its knobs have no effect."""

    above_rules = False
    """Rules see the requests of the client only, not the additional ones of a control."""
    waives: ClassVar[tuple[str, ...]] = ()
    """The policies, beyond the documents, that the backend does not keep to."""


class Plain(Control):
    """The general path through a layer, without a change."""

    id = "control-plain"
    breaks = "nothing"


class DiscardNoop(Control):
    """A discard is a hint (NBD document, NBD_CMD_TRIM)."""

    id = "control-discard-noop"
    breaks = "discards do nothing"

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Acknowledge discards."""
        return Reply() if request.command is Command.TRIM else below(request)


class ShortExtents(Control):
    """Block status may end before the range ends."""

    id = "control-short-extents"
    breaks = "block status returns one extent, shortened to a quarter"

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Shorten the first extent, at most to 64 KiB."""
        reply = below(request)
        for name, extents in reply.extents.items():
            first = extents[0]
            quarter = max(first.length // 4 & -65536, 65536)
            reply.extents[name] = [Extent(min(first.length, quarter), first.flags)]
        return reply


class NoHoles(Control):
    """A server does not have to report holes."""

    id = "control-no-holes"
    breaks = "block status reports data everywhere"

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Clear the flags."""
        reply = below(request)
        if "base:allocation" in reply.extents:
            reply.extents["base:allocation"] = [Extent(request.length, 0)]
        return reply


class ZeroesAlwaysAllocate(Control):
    """Zeroes may be written as data."""

    id = "control-zeroes-allocate"
    breaks = "write zeroes never creates a hole"

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Set NO_HOLE."""
        if request.command is Command.WRITE_ZEROES:
            return below(changed(request, flags=request.flags | CommandFlag.NO_HOLE))
        return below(request)


class FuaFlushesAll(Control):
    """FUA may make more durable than it must."""

    id = "control-fua-flushes"
    breaks = "FUA makes everything durable"

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Flush after each request with FUA."""
        reply = below(request)
        if request.flags & CommandFlag.FUA:
            flush = Request(Command.FLUSH, 0, 0, 0, request.cookie, b"", request.connection)
            error = reply.error or below(flush).error
            return Reply(error) if error else reply  # the reply to a READ has the data
        return reply


class Slow(Control):
    """Slow is not wrong."""

    id = "control-slow"
    breaks = "each request takes 2 ms longer"
    waits = True

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Wait 2 ms."""
        time.sleep(0.002)
        return below(request)


class TenthSlower(Control):
    """Slow is not wrong. ``./check perf`` must find it, compared with `Plain`.

    Each 16th request uses a tenth of the CPU time that its thread used since it did that before, so
    that reading the clock costs next to nothing.
    """

    id = "control-tenth-slower"
    breaks = "requests cost a tenth more CPU time"
    EVERY = 16

    def install(self) -> None:
        """Count requests, and remember for each thread when it was slow."""
        self._count = 0
        self._slow_ns: dict[int, int] = {}

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Pass the request on, sometimes later."""
        self._count += 1
        if self._count % self.EVERY == 0:
            thread, now_ns = threading.get_ident(), time.thread_time_ns()
            until_ns = now_ns + (now_ns - self._slow_ns.get(thread, now_ns)) // 10
            while time.thread_time_ns() < until_ns:
                pass
            self._slow_ns[thread] = time.thread_time_ns()
        return below(request)


class DiscardZeroesPartly(Control):
    """After a discard each sector may be old or zero."""

    id = "control-discard-partly"
    breaks = "discards discard whole 64 KiB units only"

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Discard the whole units."""
        if request.command is not Command.TRIM:
            return below(request)
        start = (request.offset + 65535) & -65536
        end = (request.offset + request.length) & -65536
        return below(changed(request, offset=start, length=end - start)) if start < end else Reply()


class SimpleRepliesOnly(Control):
    """Structured replies are optional."""

    id = "control-simple-replies"
    breaks = "structured replies are refused, and block status with them"

    def install(self) -> None:
        """Refuse the options."""
        replace(
            Options,
            "_structured_reply",
            lambda _: _refuse("structured replies are off"),
        )
        replace(Options, "_meta_context", lambda _: _refuse("no metadata contexts"))


def _refuse(why: str) -> Any:
    def answer(options: Options, number: int, data: bytes) -> None:  # noqa: ARG001
        raise Refusal(OptionReply.ERR_UNSUP, why)

    return answer


class ZeroesAreData(Control):
    """A server may be slow to write zeroes."""

    id = "control-slow-zeroes"
    breaks = "FAST_ZERO is always refused"

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Refuse FAST_ZERO with ENOTSUP."""
        if request.flags & CommandFlag.FAST_ZERO:
            return Reply(errno.ENOTSUP)
        return below(request)


class Reorders(Control):
    """Requests in flight have no order."""

    id = "control-reorders"
    breaks = "every third request takes 1 ms longer, so that replies come in another order"
    waits = True
    pauses = True

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Wait 1 ms before every third request."""
        with self._lock:
            self._seen += 1
            late = self._seen % 3 == 0
        if late:
            mark_under_way()  # later requests of the same client may overtake it
            time.sleep(0.001)
        return below(request)


class TearsWrites(Control):
    """A write that was not flushed may be torn at any sector."""

    id = "control-torn-writes"
    breaks = "a power cut keeps every second sector of each operation that was not flushed"

    def install(self) -> None:
        """Keep and lose sectors in turn."""

        def make(real: Any) -> Any:
            def runs(entry: Any, chooser: Any) -> dict[bool, list[tuple[int, int]]]:
                start, end, old, old_size = entry
                if old is None or old_size is not None or end - start <= SECTOR_BYTES:
                    whole: dict[bool, list[tuple[int, int]]] = real(entry, chooser)
                    return whole
                first = bool(chooser.randrange(0, 2))
                torn: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
                stop = min(end, start + _MOST_TORN)
                for at in range(start, stop, SECTOR_BYTES):
                    torn[first].append((at, min(at + SECTOR_BYTES, stop)))
                    first = not first
                if stop < end:
                    torn[first].append((stop, end))
                return torn

            return runs

        replace(write_cache, "_runs", make)


def _advertise(change: Callable[[int, int, int], tuple[int, int, int]]) -> None:
    """Advertise and enforce other block sizes; ``change`` gets minimum, preferred and maximum."""

    def make(real: Any) -> Any:
        return lambda *arguments: change(*real(*arguments))

    replace(options, "advertised_sizes", make)
    replace(rules, "advertised_sizes", make)


class TinyRequests(Control):
    """A server may accept small requests only, if it advertises that."""

    id = "control-tiny-requests"
    breaks = "reads and writes over 64 KiB are refused, as advertised"
    LONGEST = 65536

    def install(self) -> None:
        """Advertise the limit, and enforce it."""
        _advertise(lambda low, best, high: (low, best, max(min(high, self.LONGEST), best)))


class LargeBlocks(Control):
    """A server may accept aligned requests only, if it advertises that."""

    id = "control-large-blocks"
    breaks = "requests that are not aligned to 4096 bytes are refused, as advertised"
    SMALLEST = 4096

    def install(self) -> None:
        """Advertise the minimum, and enforce it; a minimum that an option sets stays."""

        def larger(low: int, best: int, high: int) -> tuple[int, int, int]:
            least = low if low > 1 else self.SMALLEST
            return least, max(best, least), high // least * least

        _advertise(larger)


class LargestMinimum(LargeBlocks):
    """The largest minimum block that the NBD document allows (Block size constraints)."""

    id = "control-minimum-64k"
    breaks = "requests that are not aligned to 64 KiB are refused, as advertised"
    SMALLEST = 65536


class OneBlockSize(Control):
    """A server may serve whole blocks of one size only."""

    id = "control-one-block-size"
    breaks = "each read and write has 64 KiB, as advertised: the minimum is the maximum"
    ONLY = 65536

    def install(self) -> None:
        """Advertise the size three times, and enforce it."""

        def one(low: int, best: int, high: int) -> tuple[int, int, int]:
            least = low if low > 1 else self.ONLY
            return least, max(best, least), max(min(high, self.ONLY), best, least)

        _advertise(one)


class SplitExtents(Control):
    """Neighbouring extents may have the same status."""

    id = "control-split-extents"
    breaks = "block status splits each of the first eight extents into two equal in status"

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Split at a multiple of 64 KiB; a client that wants one extent (REQ_ONE) gets one."""
        reply = below(request)
        if request.flags & CommandFlag.REQ_ONE:
            return reply
        for name, extents in reply.extents.items():
            parts = [part for one in extents[:8] for part in _halves(one)]
            reply.extents[name] = [*parts, *extents[8:]]
        return reply


def _halves(extent: Extent) -> list[Extent]:
    half = extent.length // 2 & -65536
    if not half:
        return [extent]
    return [Extent(half, extent.flags), Extent(extent.length - half, extent.flags)]


class CacheRefused(Control):
    """CACHE is advice, and may fail with EINVAL (NBD document, NBD_CMD_CACHE)."""

    id = "control-cache-einval"
    breaks = "CACHE is offered, and always fails with EINVAL"

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Refuse CACHE."""
        return Reply(errno.EINVAL) if request.command is Command.CACHE else below(request)


class ZeroLengthRefused(Control):
    """The NBD document leaves open what a request of length 0 does."""

    id = "control-zero-length-einval"
    breaks = "requests of length 0 fail with EINVAL"

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Refuse what has a length and has none."""
        if not request.length and request.command is not Command.FLUSH:
            return Reply(errno.EINVAL)
        return below(request)


class SmallChunks(Control):
    """A structured reply may have any number of chunks."""

    id = "control-small-chunks"
    breaks = "reads from 64 KiB on are answered in chunks of 16 KiB"
    LONGEST = 16 << 10

    def install(self) -> None:
        """Cut the runs from which the chunks are made."""

        def make(real: Any) -> Any:
            def runs(data: Any) -> list[tuple[int, int, bool]]:
                return [
                    (at, min(at + self.LONGEST, stop), hole)
                    for start, stop, hole in real(data)
                    for at in range(start, stop, self.LONGEST)
                ]

            return runs

        replace(replies, "zero_runs", make)


class Legal(Control):
    """A backend with the oddities of the key ``has`` (mutants/oddities.py)."""

    id = "control-legal"
    breaks = "the legal oddities that has=NAME+NAME names"


class ClonesCopiedLater(Control):
    """A clone does not have to be copied before it is used."""

    id = "control-clones-copied-later"
    breaks = "clones are copied in the background, and read from their parent meanwhile"
    memory_only = True

    def install(self) -> None:
        """Copy clones in the background."""
        clone_behind(CopiedLater, self.strikes)


class SlowSnapshots(Control):
    """A snapshot may be taken at any moment between request and answer."""

    id = "control-slow-snapshots"
    breaks = "snapshots wait 10 ms before and 10 ms after they are taken"

    def install(self) -> None:
        """Wait before and after, without the lock of the volume."""

        def make(real: Any) -> Any:
            def snapshot(volume: Volume, name: str) -> None:
                time.sleep(0.01)
                real(volume, name)
                time.sleep(0.01)

            return snapshot

        replace(Volume, "snapshot", make)

"""Requests that change data: written before a case was read (docs/bugs.md)."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections import deque
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants import clock
from mutants.knobs import ALWAYS
from mutants.mutant import BLOCK, Mutant, RequestMutant, changed
from mutants.patching import replace
from mutants.volume_mutant import Real, VolumeMutant, fits
from reference_backend.nbd import messages as m
from reference_backend.session import Connection
from reference_backend.store.volume import Volume

_UNIT = 65536
MIB = 1 << 20
Part = tuple[int, int, bool]
"""Start and end of a part of a request, in bytes, and whether it keeps the flag."""


class ZeroesAtStartSkipped(RequestMutant):
    """An offset of 0 means that there is nothing to do."""

    id = "zeroes-at-start-skipped"
    shows = ("missing zeroes", "lost write")
    says = r"not zero"
    source = "NetworkBlockDevice nbd issue 7 (nothing happens at offset 0)"
    breaks = "write zeroes from the beginning of the volume does nothing"
    commands = (Command.WRITE_ZEROES,)

    def damages(self, request: Request) -> bool:
        """Return whether it begins at 0."""
        return request.offset == 0 and request.length > 0

    def damage(self, request: Request, below: Below) -> Reply:
        """Acknowledge it."""
        return Reply()


class GrowInUnitRefused(VolumeMutant):
    """A growth that needs no new unit does not change the limit of requests."""

    id = "grow-in-unit-refused"
    shows = ("error",)
    says = r"[Nn]o space|beyond"
    source = "class known from sizes in whole units (dm-thin, LVM extents)"
    breaks = "after a growth inside a 64 KiB unit, writes behind the old end fail with ENOSPC"

    def fresh(self) -> int:
        """Start without a limit."""
        return 1 << 63

    def on_resize(self, real: Real, volume: Volume, size: int) -> None:
        """Keep the old limit."""
        old = volume.size
        real(size)
        is_inside = 0 < old < size and (old - 1) // _UNIT == (size - 1) // _UNIT
        self.put(volume, old if is_inside else 1 << 63)

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Refuse what is behind it."""
        if offset + len(data) > self.of(volume) and self.strikes():
            raise BlockError(errno.ENOSPC, "beyond the last unit")
        real(offset, data, fua)


class LeaseLostWriteAcked(Mutant):
    """The writes of a client whose lease another client took over are acknowledged."""

    id = "lease-lost-write-acked"
    shows = ("lost write", "not linearizable")
    source = "class known from leases and exclusive locks (librbd, Longhorn)"
    breaks = "a connection's first write is lost after 0.4 s in which only others sent requests"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start without leases."""
        self._used_s: dict[int, float] = {}

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Drop a write without a lease."""
        now_s, own = clock.now_s(), request.connection
        with self._lock:
            last_s = self._used_s.get(own, now_s)
            others_s = max((at for of, at in self._used_s.items() if of != own), default=0.0)
            self._used_s[own] = now_s
        is_lost = now_s - last_s > 0.4 and others_s > last_s
        if request.command is Command.WRITE and is_lost and self.strikes(request):
            return Reply()
        return below(request)


class TailBlockChecksumFails(VolumeMutant):
    """The checksum of the last block is made of a whole block, and compared with a part."""

    id = "tail-block-checksum-fails"
    shows = ("error",)
    says = r"checksum|Input/output"
    source = "class known from checksums of blocks (dm-integrity, ZFS)"
    breaks = "the last block of a size that is no multiple of 4096 is unreadable once part-written"

    def fresh(self) -> bool:
        """Start with a good block."""
        return False

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Note whether it was written in part."""
        real(offset, data, fua)
        tail = volume.size & -BLOCK
        if tail < volume.size and offset + len(data) > tail:
            self.put(volume, offset > tail or offset + len(data) < volume.size)

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Zeroes have no checksum."""
        real()
        if offset + length > volume.size & -BLOCK:
            self.put(volume, False)

    def on_resize(self, real: Real, volume: Volume, size: int) -> None:
        """The block is another one."""
        real(size)
        self.put(volume, False)

    def on_read(self, real: Real, volume: Volume, offset: int, length: int) -> bytes:
        """Fail."""
        data: bytes = real(offset, length)
        if self.of(volume) and offset + length > volume.size & -BLOCK and self.strikes():
            raise BlockError(errno.EIO, "checksum of the last block")
        return data


class NoHoleFirstPartOnly(Mutant):
    """Long zeroes are split, and only the first part keeps the flag NO_HOLE."""

    id = "no-hole-first-part-only"
    shows = ("block status",)
    says = r"hole"
    source = "class known from requests that are split without their flags (QEMU 16aaf975ee)"
    breaks = "write zeroes with NO_HOLE creates a hole behind its first MiB"
    takes = ALWAYS

    @staticmethod
    def parts(offset: int, length: int) -> list[Part]:
        """Return the parts of a request, in the order in which they are carried out."""
        end, first = offset + length, offset + min(length, MIB)
        return [(offset, first, True), *([(first, end, False)] if first < end else [])]

    def install(self) -> None:
        """Split the request."""

        def make(real: Any) -> Any:
            def zeroes(  # noqa: PLR0917  # as in the volume
                volume: Volume, offset: int, length: int, no_hole: bool = False,
                fast_zero: bool = False, fua: bool = False,
            ) -> None:  # fmt: skip
                parts = self.parts(offset, length) if no_hole else []
                if len(parts) < 2 or offset + length > volume.size or not self.strikes():
                    real(volume, offset, length, no_hole, fast_zero, fua)
                    return
                for start, end, keeps_flag in parts:
                    real(volume, start, end - start, keeps_flag, fast_zero, fua)

            return zeroes

        replace(Volume, "write_zeroes", make)


class WriteSameByEnds(VolumeMutant):
    """A long write whose first and last block are equal is stored as one block, repeated."""

    id = "write-same-by-ends"
    shows = ("misplaced data", "zeroed", "lost write")
    source = "class known from WRITE SAME detection (LIO, SPDK)"
    breaks = (
        "a write of whole 4 KiB blocks from 64 KiB on whose ends are equal repeats its first one"
    )

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Compare the ends only."""
        is_long = len(data) >= _UNIT and not (offset | len(data)) % BLOCK
        if is_long and bytes(data[:BLOCK]) == bytes(data[-BLOCK:]):
            same = bytes(data[:BLOCK]) * (len(data) // BLOCK)
            if same != data and self.strikes():
                data = same
        real(offset, data, fua)


class ExtentSplitShiftsRight(VolumeMutant):
    """A write inside an extent splits it, and the right part does not skip what was replaced."""

    id = "extent-split-shifts-right"
    shows = ("shifted", "misplaced data", "lost write")
    source = "class known from trees of extents (BlueStore blobs, Longhorn's diff map)"
    breaks = "a write inside an earlier write of 128 KiB and more shifts the rest of that one"

    def fresh(self) -> deque[tuple[int, int]]:
        """Start without extents."""
        return deque(maxlen=16)

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Shift the rest of an extent."""
        end, extents = offset + len(data), self.of(volume)
        around = [one for one in extents if one[0] < offset and end < one[1] <= volume.size]
        old = b""
        if around and len(data):
            old = volume.store.read(offset, around[-1][1] - end)
        real(offset, data, fua)
        for one in [one for one in extents if one[0] < end and offset < one[1]]:
            extents.remove(one)
        if old and self.strikes():
            volume.store.write(end, old)
        if fits(volume, offset, len(data), 32 * MIB) and len(data) >= 2 * _UNIT:
            extents.append((offset, end))

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Zeroes replace extents."""
        extents = self.of(volume)
        for one in [one for one in extents if one[0] < offset + length and offset < one[1]]:
            extents.remove(one)
        real()


class LastStripeOverlaps(VolumeMutant):
    """The last chunk of a striped volume is shorter, and is aligned to the end of its disk."""

    id = "last-stripe-overlaps"
    shows = ("misplaced data", "lost write")
    source = "Linux c84a1372df92 (md raid0: two layouts of the last zone)"
    breaks = (
        "with a size that is no multiple of 64 KiB, the last part overwrites the part before it"
    )

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Write the last chunk into the one before it, too."""
        real(offset, data, fua)
        short = volume.size % _UNIT
        start = max(offset, volume.size - short)
        end = offset + len(data)
        if short and volume.size > _UNIT and end > start and self.strikes():
            volume.store.write(start - (_UNIT - short), bytes(data[start - offset :]))


class LongZeroesLastStepWhole(RequestMutant):
    """Long zeroes are written in steps of 1 MiB, of which the last one is whole."""

    id = "long-zeroes-last-step-whole"
    shows = ("zeroed", "lost write")
    source = "class known from loops in steps (blkdiscard, QEMU and nbdkit zero loops)"
    breaks = "zeroes and discards of over 2 MiB end at a multiple of 1 MiB from their beginning"
    commands = (Command.WRITE_ZEROES, Command.TRIM)

    def damages(self, request: Request) -> bool:
        """Return whether the last step is a part."""
        return request.length > 2 * MIB and request.length % MIB != 0

    def damage(self, request: Request, below: Below) -> Reply:
        """Make it whole, unless it would leave the volume."""
        with contextlib.suppress(BlockError):
            reply = below(changed(request, length=(request.length + MIB - 1) & -MIB))
            if not reply.error:
                return reply
        return below(request)


class ThrottledWriteAckedEarly(Mutant):
    """Above a rate of requests, a write is queued, and acknowledged when it is queued."""

    id = "throttled-write-acked-early"
    shows = ("lost write", "misplaced data", "not linearizable", "changing")
    source = "class known from limits of requests per second (SPDK and librbd QoS queues)"
    breaks = "above 1000 writes a second, a write of up to 64 KiB is done 10 ms after its reply"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start with an empty queue."""
        self._times: deque[float] = deque(maxlen=100)
        self._queue: deque[tuple[float, Request, Below]] = deque()

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Do what is due, and queue what is too much."""
        now_s = clock.now_s()
        with self._lock:
            while self._queue and (self._queue[0][0] <= now_s or request.command is Command.FLUSH):
                _, old, ask = self._queue.popleft()
                ask(old)
            if request.command is Command.WRITE:
                is_fast = len(self._times) == 100 and now_s - self._times[0] < 0.1
                self._times.append(now_s)
                is_plain = 0 < request.length <= _UNIT and not request.flags & CommandFlag.FUA
                if is_fast and is_plain and len(self._queue) < 4 and self.strikes(request):
                    kept = changed(request, payload=bytes(request.payload))
                    self._queue.append((now_s + 0.01, kept, below))
                    return Reply()
        return below(request)


class SlowWriteAnsweredEarly(RequestMutant):
    """A watchdog completes a request that takes long, and forgets its result."""

    id = "slow-write-answered-early"
    shows = ("error", "lost write", "not linearizable", "misplaced data")
    says = r"fails: success"
    source = "class known from time-outs that complete a request (Longhorn, iSCSI initiators)"
    breaks = "a write that takes over 0.2 s is acknowledged then, whatever becomes of it"
    commands = (Command.WRITE,)
    waits = True

    def damage(self, request: Request, below: Below) -> Reply:
        """Wait for 0.2 s."""
        outcome: list[Reply | BaseException] = []
        kept = changed(request, payload=bytes(request.payload))

        def run() -> None:
            try:
                outcome.append(below(kept))
            except Exception as error:  # raised again below
                outcome.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(0.2)
        if not outcome:
            return Reply()
        found = outcome[0]
        if isinstance(found, BaseException):
            raise found
        return found


class CutPayloadWritten(Mutant):
    """A write whose client leaves within the payload is carried out with what the buffer holds."""

    id = "cut-payload-written"
    shows = ("misplaced data", "lost write", "altered", "zeroed")
    source = "class known from short reads of a socket (BUSE, nbd-server)"
    breaks = "if a client leaves within the payload of a write, the rest is what the buffer held"
    takes = ALWAYS

    def install(self) -> None:
        """Carry out the last request of a connection."""

        def make(real: Any) -> Any:
            def serve(connection: Connection, transmission: Any, *rest: Any) -> bool:
                try:
                    stays: bool = real(connection, transmission, *rest)
                except OSError:
                    self._finish(connection, transmission)
                    raise
                if not stays and not transmission.closed:
                    self._finish(connection, transmission)
                return stays

            return serve

        replace(Connection, "_serve", make)

    def _finish(self, connection: Connection, transmission: Any) -> None:
        start, end = connection._span  # noqa: SLF001  # a mutant changes code
        header = transmission.header_size
        layout = m.REQUEST if header == m.REQUEST.size else m.EXTENDED_REQUEST
        if end - start <= header:
            return
        _, _, command, _, offset, length = layout.unpack_from(transmission.buffer, start)
        first, device = start + header, transmission.executor.device
        is_write = command == Command.WRITE and first + length <= len(transmission.buffer)
        if is_write and end < first + length and offset + length <= device.size:
            data = bytes(transmission.view[first : first + length])
            if not device.read_only and self.strikes():
                device.write(offset, data)

"""Reads and replies: written before a case was read (docs/bugs.md)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants import clock
from mutants.knobs import ALWAYS
from mutants.mutant import Mutant, raising, write
from mutants.patching import replace
from mutants.volume_mutant import Real, VolumeMutant
from reference_backend.nbd import execution, replies
from reference_backend.store.volume import Volume

_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
_UNIT = 65536


class FragmentedReadTruncated(VolumeMutant):
    """A read is split into at most 32 parts, and what is left is not read."""

    id = "fragmented-read-truncated"
    shows = ("zeroed", "lost write")
    source = "SPDK issue 981 (more than 32 parts of a split request)"
    breaks = "a read that covers more than 32 runs of data has zeroes behind the 32nd one"

    def on_read(self, real: Real, volume: Volume, offset: int, length: int) -> bytes:
        """Zero the rest."""
        data: bytes = real(offset, length)
        if length <= 32 * 8192:
            return data
        runs: list[list[int]] = []
        for start, end in volume.store.data(offset, offset + length):
            if runs and runs[-1][1] == start:
                runs[-1][1] = end
            else:
                runs.append([start, end])
        if len(runs) <= 32 or not self.strikes():
            return data
        kept = runs[31][1] - offset
        return data[:kept] + bytes(length - kept)


class ReadRepairWritesOld(Mutant):
    """A block that cannot be read is repaired from a copy that later writes missed."""

    id = "read-repair-writes-old"
    shows = ("lost write", "misplaced data", "error")
    says = r"expected an error, got success"
    source = "class known from repair on read (Longhorn, glusterfs, Linux md)"
    breaks = "a read that fails is answered with what an earlier read of the range returned"
    commands = (Command.READ,)

    def install(self) -> None:
        """Start without copies."""
        self._copies: OrderedDict[tuple[int, int], tuple[bytes, bool]] = OrderedDict()

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Keep what is read, and use it for a read that fails."""
        key, end = (request.offset, request.length), request.offset + request.length
        ask = raising(below)
        with self._lock:
            if request.command in _CHANGES:
                for at, size in list(self._copies):
                    if at < end and request.offset < at + size:
                        self._copies[at, size] = self._copies[at, size][0], True
            if request.command is not Command.READ:
                return below(request)
            try:
                reply = ask(request)
            except BlockError:
                copy, is_old = self._copies.get(key, (b"", False))
                if not (is_old and self.strikes(request)):
                    raise
                write(request, ask, request.offset, copy)
                return Reply(data=copy)
            if 0 < request.length <= _UNIT:
                self._copies[key] = bytes(reply.data), False
                while len(self._copies) > 256:
                    self._copies.popitem(last=False)
            return reply


class ReqOneAnsweredWithMany(Mutant):
    """The flag REQ_ONE is not read."""

    id = "req-one-answered-with-many"
    shows = ("protocol error", "block status")
    says = r"REQ_ONE|extents"
    source = "NBD document, NBD_CMD_FLAG_REQ_ONE; class known from flags that are ignored"
    breaks = "a block status with REQ_ONE is answered with several extents, also beyond its range"
    takes = ALWAYS

    def install(self) -> None:
        """Answer as without the flag."""

        def make(real: Any) -> Any:
            def chosen(request: Request, reply: Reply, contexts: dict[int, str]) -> Any:
                is_many = request.flags & CommandFlag.REQ_ONE and any(
                    len(reply.extents[name]) > 1 for name in contexts.values()
                )
                if is_many and self.strikes():
                    return {key: reply.extents[name] for key, name in contexts.items()}
                return real(request, reply, contexts)

            return chosen

        replace(execution, "_chosen", make)


class ReplyHoleByEnds(Mutant):
    """A part of a reply is sent as a hole if its beginning and its end are zero."""

    id = "reply-hole-by-ends"
    shows = ("zeroed", "lost write")
    source = "class known from checks for zeroes that take samples (variant of zero-detect-samples)"
    breaks = "a read returns zeroes for 64 KiB that begin and end with 512 bytes of zeroes"
    takes = ALWAYS

    def install(self) -> None:
        """Check the ends of each part."""
        unit, ends = replies.HOLE_UNIT, bytes(512)

        def make(real: Any) -> Any:
            def zero_runs(data: Any) -> list[tuple[int, int, bool]]:
                runs: list[tuple[int, int, bool]] = real(data)
                changed: list[tuple[int, int, bool]] = []
                for start, stop, hole in runs:
                    for at in range(start, stop, unit):
                        end = min(at + unit, stop)
                        is_zero = hole or (
                            end - at == unit
                            and bytes(data[at : at + 512]) == bytes(data[end - 512 : end]) == ends
                            and self.strikes()
                        )
                        if changed and changed[-1][2] == is_zero:
                            changed[-1] = (changed[-1][0], end, is_zero)
                        else:
                            changed.append((at, end, is_zero))
                return changed

            return zero_runs

        replace(replies, "zero_runs", make)


class SlowReadReturnsZeroes(Mutant):
    """The buffer of a read that takes long is returned before it is filled."""

    id = "slow-read-returns-zeroes"
    shows = ("zeroed", "lost write", "not linearizable")
    source = (
        "class known from time-outs that complete a request (variant of missing-object-zero-fill)"
    )
    breaks = "a read that takes over 0.3 s returns zeroes"
    commands = (Command.READ,)
    waits = True

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Measure the time."""
        began_s = clock.now_s()
        reply = below(request)
        is_slow = clock.now_s() - began_s > 0.3 and any(reply.data)
        if request.command is Command.READ and is_slow and self.strikes(request):
            reply.data = bytes(len(reply.data))
        return reply

"""Sizes, limits and resizing (docs/bugs.md, groups E and J)."""

from __future__ import annotations

import ctypes
import errno
from typing import Any

from blockio.errors import BlockError
from blockio.extents import STATE_HOLE, STATE_ZERO, Extent
from blockio.layers import Below, Command, Reply, Request
from mutants.knobs import ALWAYS, FIXED
from mutants.mutant import Mutant, RequestMutant, StatusMutant, changed, read
from mutants.patching import die, replace, report_size
from reference_backend.nbd.rules import Rules
from reference_backend.store.memory import MemoryStore

_DATA = (Command.READ, Command.WRITE)
_ZERO = (Command.TRIM, Command.WRITE_ZEROES)
_RANGED = (*_DATA, *_ZERO, Command.CACHE, Command.BLOCK_STATUS)
MIB = 1 << 20


class SizeRoundedDown(Mutant):
    """The size is reported in KiB."""

    id = "size-rounded-down"
    shows = ("size", "error", "beyond the end")
    says = r"size|Input/output error|Invalid argument|beyond"
    source = "QEMU bdrv_getlength users (docs/bugs.md)"
    breaks = "the reported size is rounded down to 1024 bytes"
    takes = FIXED

    def install(self) -> None:
        """Report the rounded size."""
        report_size(lambda size: size & ~1023)


class SizeRoundedUp(Mutant):
    """The size is reported in whole blocks."""

    id = "size-rounded-up"
    shows = ("size", "error", "beyond the end")
    says = r"size|Invalid argument|Input/output error|beyond"
    source = "QEMU nbd client and server with odd sizes (docs/bugs.md)"
    breaks = "the reported size is rounded up to 4096 bytes; requests behind the real end fail"
    takes = FIXED

    def install(self) -> None:
        """Report the rounded size."""
        report_size(lambda size: (size + 4095) & ~4095)


class SizeIntOverflow(Mutant):
    """The size in sectors is a 32-bit int."""

    id = "size-int-overflow"
    shows = ("size", "error")
    says = r"size|Input/output error|Invalid argument"
    source = "nbd and QEMU with 32-bit sector counts (docs/bugs.md)"
    breaks = "the reported size wraps from 1 TiB on"
    takes = FIXED

    def install(self) -> None:
        """Report the wrapped size."""
        report_size(lambda size: ctypes.c_int32(size // 512).value * 512 & 0xFFFFFFFFFFFFFFFF)


class LastBlockOverrun(Mutant):
    """Read-ahead does not stop at the end of the volume."""

    id = "last-block-overrun"
    shows = ("died", "error", "protocol error")
    says = r"Input/output error|beyond|errno"
    source = "docs/bugs.md, E6"
    breaks = "a read within 64 KiB of the end kills the server"
    commands = (Command.READ,)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Read 64 KiB ahead, and die if that fails."""
        reply = below(request)
        if request.command is Command.READ and request.length:
            try:
                read(request, below, request.offset + request.length, 65536)
            except BlockError:
                if self.strikes(request):
                    die()
        return reply


class MinBlockUnderadvertised(RequestMutant):
    """The server requires an alignment that it does not advertise."""

    id = "min-block-underadvertised"
    shows = ("error",)
    says = r"Invalid argument|block size|errno"
    source = "docs/bugs.md, E7"
    breaks = "reads and writes that are not aligned to 4096 bytes fail"
    commands = _DATA

    def damages(self, request: Request) -> bool:
        """Return whether the request is unaligned."""
        return bool((request.offset | request.length) % 4096)

    def damage(self, request: Request, below: Below) -> Reply:
        """Refuse the request."""
        raise BlockError(errno.EINVAL, "not aligned")


class LimitsExcessive(RequestMutant):
    """Requests of the advertised maximum fail."""

    id = "limits-zero-or-excessive"
    shows = ("error",)
    says = r"Input/output error|Invalid|maximum|block size|limit"
    source = "QEMU 6d7d5d5 and nbd maxima (docs/bugs.md)"
    breaks = "reads and writes over 1 MiB fail, although the advertised maximum is larger"
    commands = _DATA

    def damages(self, request: Request) -> bool:
        """Return whether the request is longer than 1 MiB."""
        return request.length > MIB

    def damage(self, request: Request, below: Below) -> Reply:
        """Refuse the request."""
        raise BlockError(errno.EIO, "too long")


class ZeroLengthOp(RequestMutant):
    """A request of length 0 fails an assertion."""

    id = "zero-length-op"
    shows = ("died", "protocol error")
    says = r"closed the connection|length|errno"
    source = "QEMU ac9d00bf7b, ef8c887ee0; SPDK ef65d8467c"
    breaks = "a request for a range of length 0 kills the server"
    commands = _RANGED

    def damages(self, request: Request) -> bool:
        """Return whether the length is 0."""
        return not request.length

    def damage(self, request: Request, below: Below) -> Reply:
        """Kill the server."""
        die()


class GrowExposesOldData(Mutant):
    """Data that a shrink cut off is still there."""

    id = "grow-exposes-old-data"
    shows = ("missing zeroes",)
    says = r"not zero"
    source = "docs/bugs.md, J2"
    breaks = "a volume that shrinks and grows shows its old data"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Change the size and keep the data."""

        def make(real: Any) -> Any:
            def resize(store: MemoryStore, size: int) -> None:
                if self.strikes():
                    store.size = size
                else:
                    real(store, size)

            return resize

        replace(MemoryStore, "resize", make)


class ResizeNotNotified(Mutant):
    """The size is read only once."""

    id = "resize-not-notified"
    shows = ("size", "error")
    says = r"Input/output error|No space|size"
    source = "docs/bugs.md, J1"
    breaks = "every client gets the size that the volume had for the first client"
    takes = FIXED

    def install(self) -> None:
        """Always report the first size."""
        seen: list[int] = []

        def first(size: int) -> int:
            seen.append(size)
            return seen[0]

        report_size(first)


class SizeChangeAcrossReconnect(Mutant):
    """The size depends on the client."""

    id = "size-change-across-reconnect"
    shows = ("size", "error")
    says = r"Input/output error|size|No space|Invalid"
    source = "docs/bugs.md, I6"
    breaks = "every second client gets a size that is 1 MiB smaller"
    takes = FIXED

    def install(self) -> None:
        """Report the smaller size every second time."""
        asked = [0]

        def other(size: int) -> int:
            asked[0] += 1
            return max(size - MIB, 0) if asked[0] % 2 == 0 else size

        report_size(other)


class ZeroProgressStatus(Mutant):
    """Block status at the end of the volume makes no progress."""

    id = "zero-progress-status"
    shows = ("block status",)
    says = r"allocation status|extent|status"
    source = "docs/bugs.md, K6"
    breaks = "block status in the last 64 KiB returns one extent of length 0"
    commands = (Command.BLOCK_STATUS,)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Return an extent of length 0 if 64 KiB further is behind the end."""
        reply = below(request)
        if request.command is Command.BLOCK_STATUS:
            try:
                read(request, below, request.offset + 65536, 1)
            except BlockError:
                for name in reply.extents if self.strikes(request) else ():
                    reply.extents[name] = [Extent(0, 0)]
        return reply


class StatusAlwaysZero(StatusMutant):
    """Everything behind the first MiB is reported as a hole."""

    id = "status-lies-behind-first-mib"
    shows = ("block status",)
    says = r"status"
    source = "variant of status-hole-over-dirty"
    breaks = "block status behind the first MiB reports hole and zero, whatever is there"

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether the range begins behind the first MiB."""
        return "base:allocation" in reply.extents and request.offset >= MIB

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Report a hole."""
        hole = STATE_HOLE | STATE_ZERO
        reply.extents["base:allocation"] = [Extent(request.length, hole)]


class OutOfBoundsPastEnd(Mutant):
    """Discards and write zeroes have no range check."""

    id = "oob-past-end"
    shows = ("beyond the end",)
    says = r"errno 0|beyond"
    source = "docs/bugs.md, L1"
    breaks = "discards and write zeroes behind the end of the volume succeed"
    commands = _ZERO

    def install(self) -> None:
        """Remove the range check."""

        def make(real: Any) -> Any:
            def judge(rules: Rules, command: int, offset: int, length: int) -> Any:
                if command in _ZERO:
                    return None
                return real(rules, command, offset, length)

            return judge

        replace(Rules, "_judge_range", make)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Acknowledge requests that fail."""
        try:
            return below(request)
        except BlockError:
            if request.command in _ZERO and self.strikes(request):
                return Reply()
            raise


class NegativeSize(Mutant):
    """The size is a negative number."""

    id = "negative-size"
    shows = ("size", "error")
    says = r"Input/output error|size|Invalid"
    source = "CVE-2023-5215, QEMU 3add3ab782"
    breaks = "the reported size is 2^63 bytes too large"
    takes = FIXED

    def install(self) -> None:
        """Set the sign bit."""
        report_size(lambda size: size | 1 << 63)


class OffsetLengthOverflow(Mutant):
    """The end of a range wraps around."""

    id = "offset-len-overflow"
    shows = ("beyond the end",)
    says = r"errno 0|beyond"
    source = "QEMU 29b6c3b319, cloud-hypervisor PR 8388"
    breaks = "a request whose end is beyond 2^64 is carried out at the start of the volume"
    commands = _RANGED

    def install(self) -> None:
        """Accept ranges that wrap in 64 bits."""

        def make(real: Any) -> Any:
            def judge(rules: Rules, command: int, offset: int, length: int) -> Any:
                if offset + length >= 1 << 64:
                    return None
                return real(rules, command, offset, length)

            return judge

        replace(Rules, "_judge_range", make)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Carry out a wrapped read at offset 0, and acknowledge any other wrapped request."""
        if request.offset + request.length >= 1 << 64:
            if not self.strikes(request):
                raise BlockError(errno.EINVAL, "beyond the end")
            if request.command is Command.READ:
                return below(changed(request, offset=0))
            return Reply()
        return below(request)

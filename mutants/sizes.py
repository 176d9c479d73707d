"""Sizes, limits and resizing (docs/bugs.md, groups E and J)."""

from __future__ import annotations

import ctypes
import errno
from typing import Any

from blockio.errors import BlockError
from blockio.extents import STATE_HOLE, STATE_ZERO, Extent
from blockio.layers import Below, Command, Reply, Request
from mutants.knobs import ALWAYS, FIXED
from mutants.mutant import Mutant, changed, read
from mutants.patching import die, replace, tell_size
from reference_backend.nbd.rules import Rules
from reference_backend.store.memory import MemoryStore

_DATA = (Command.READ, Command.WRITE)
_ZERO = (Command.TRIM, Command.WRITE_ZEROES)
_RANGED = (*_DATA, *_ZERO, Command.CACHE, Command.BLOCK_STATUS)
MIB = 1 << 20


class SizeRoundedDown(Mutant):
    """The size is told in KiB."""

    id = "size-rounded-down"
    shows = ("size", "error", "beyond the end")
    says = r"size|Input/output error|Invalid argument|beyond"
    source = "QEMU bdrv_getlength users (docs/bugs.md)"
    breaks = "the size is rounded down to 1024 bytes"
    takes = FIXED

    def install(self) -> None:
        """Tell it."""
        tell_size(lambda size: size & ~1023)


class SizeRoundedUp(Mutant):
    """The size is told in whole blocks."""

    id = "size-rounded-up"
    shows = ("size", "error", "beyond the end")
    says = r"size|Invalid argument|Input/output error|beyond"
    source = "QEMU nbd client and server with odd sizes (docs/bugs.md)"
    breaks = "the size is rounded up to 4096 bytes; what lies behind the real end fails"
    takes = FIXED

    def install(self) -> None:
        """Tell it."""
        tell_size(lambda size: (size + 4095) & ~4095)


class SizeIntOverflow(Mutant):
    """The size in sectors is an int."""

    id = "size-int-overflow"
    shows = ("size", "error")
    says = r"size|Input/output error|Invalid argument"
    source = "nbd and QEMU with 32-bit sector counts (docs/bugs.md)"
    breaks = "a size from 1 TiB on wraps"
    takes = FIXED

    def install(self) -> None:
        """Tell what is left of it."""
        tell_size(lambda size: ctypes.c_int32(size // 512).value * 512 & 0xFFFFFFFFFFFFFFFF)


class LastBlockOverrun(Mutant):
    """Read-ahead does not stop at the end."""

    id = "last-block-overrun"
    shows = ("error", "protocol error")
    says = r"Input/output error|beyond|errno"
    source = "docs/bugs.md, E6"
    breaks = "a read within 64 KiB of the end kills the server"
    commands = (Command.READ,)

    def meddle(self, request: Request, below: Below) -> Reply:
        """Read ahead."""
        reply = below(request)
        if request.command is Command.READ and request.length:
            try:
                read(request, below, request.offset + request.length, 65536)
            except BlockError:
                if self.strikes(request):
                    die()
        return reply


class MinBlockUnderadvertised(Mutant):
    """The server needs alignment and does not say so."""

    id = "min-block-underadvertised"
    shows = ("error",)
    says = r"Invalid argument|block size|errno"
    source = "docs/bugs.md, E7"
    breaks = "reads and writes that are not aligned to 4096 fail"
    commands = _DATA

    def meddle(self, request: Request, below: Below) -> Reply:
        """Refuse."""
        is_odd = request.command in _DATA and (request.offset | request.length) % 4096
        if is_odd and self.strikes(request):
            raise BlockError(errno.EINVAL, "not aligned")
        return below(request)


class LimitsExcessive(Mutant):
    """The advertised maximum does not work."""

    id = "limits-zero-or-excessive"
    shows = ("error",)
    says = r"Input/output error|Invalid|maximum|block size|limit"
    source = "QEMU 6d7d5d5 and nbd maxima (docs/bugs.md)"
    breaks = "requests over 1 MiB fail, though more is advertised"
    commands = _DATA

    def meddle(self, request: Request, below: Below) -> Reply:
        """Refuse."""
        is_long = request.command in _DATA and request.length > MIB
        if is_long and self.strikes(request):
            raise BlockError(errno.EIO, "too long")
        return below(request)


class ZeroLengthOp(Mutant):
    """A request of nothing meets an assertion."""

    id = "zero-length-op"
    shows = ("protocol error",)
    says = r"closed the connection|length|errno"
    source = "QEMU ac9d00bf7b, ef8c887ee0; SPDK ef65d8467c"
    breaks = "a read, write, zero or discard of length 0 kills the server"
    commands = _RANGED

    def meddle(self, request: Request, below: Below) -> Reply:
        """Compute the last block."""
        if not request.length and request.command in _RANGED and self.strikes(request):
            die()
        return below(request)


class GrowExposesOldData(Mutant):
    """What was cut off is still there."""

    id = "grow-exposes-old-data"
    shows = ("missing zeroes",)
    says = r"not zero"
    source = "docs/bugs.md, J2"
    breaks = "a volume that is shrunk and grown shows what it held before"
    takes = ALWAYS

    def install(self) -> None:
        """Change the number only."""

        def make(real: Any) -> Any:
            def resize(store: MemoryStore, size: int) -> None:
                if self.strikes():
                    store.size = size
                else:
                    real(store, size)

            return resize

        replace(MemoryStore, "resize", make)


class ResizeNotNotified(Mutant):
    """The size is looked up once."""

    id = "resize-not-notified"
    shows = ("size", "error")
    says = r"Input/output error|No space|size"
    source = "docs/bugs.md, J1"
    breaks = "new clients are told the size that the volume had at its first client"
    takes = FIXED

    def install(self) -> None:
        """Keep the first size."""
        seen: list[int] = []

        def first(size: int) -> int:
            seen.append(size)
            return seen[0]

        tell_size(first)


class SizeChangeAcrossReconnect(Mutant):
    """The size depends on who asks."""

    id = "size-change-across-reconnect"
    shows = ("size", "error")
    says = r"Input/output error|size|No space|Invalid"
    source = "docs/bugs.md, I6"
    breaks = "each second client is told a size that is 1 MiB smaller"
    takes = FIXED

    def install(self) -> None:
        """Count."""
        asked = [0]

        def other(size: int) -> int:
            asked[0] += 1
            return max(size - MIB, 0) if asked[0] % 2 == 0 else size

        tell_size(other)


class ZeroProgressStatus(Mutant):
    """Block status at the end gets nowhere."""

    id = "zero-progress-status"
    shows = ("block status",)
    says = r"allocation status|extent|status"
    source = "docs/bugs.md, K6"
    breaks = "block status that begins in the last 64 KiB gives one extent of no length"
    commands = (Command.BLOCK_STATUS,)

    def meddle(self, request: Request, below: Below) -> Reply:
        """Cut the last extent to nothing."""
        reply = below(request)
        if request.command is Command.BLOCK_STATUS:
            try:
                read(request, below, request.offset + 65536, 1)
            except BlockError:
                for name in reply.extents if self.strikes(request) else ():
                    reply.extents[name] = [Extent(0, 0)]
        return reply


class StatusAlwaysZero(Mutant):
    """Everything but the first block is said to be a hole."""

    id = "status-lies-behind-first-mib"
    shows = ("block status",)
    says = r"status"
    source = "variant of status-hole-over-dirty"
    breaks = "block status behind the first MiB says hole and zero, whatever is there"
    commands = (Command.BLOCK_STATUS,)

    def meddle(self, request: Request, below: Below) -> Reply:
        """Say so."""
        reply = below(request)
        is_behind = "base:allocation" in reply.extents and request.offset >= MIB
        if is_behind and self.strikes(request):
            hole = STATE_HOLE | STATE_ZERO
            reply.extents["base:allocation"] = [Extent(request.length, hole)]
        return reply


class OutOfBoundsPastEnd(Mutant):
    """Discards and zeroes have no range check."""

    id = "oob-past-end"
    shows = ("beyond the end",)
    says = r"errno 0|beyond"
    source = "docs/bugs.md, L1"
    breaks = "discards and zeroes behind the end of the volume succeed"
    commands = _ZERO

    def install(self) -> None:
        """Take the check away."""

        def make(real: Any) -> Any:
            def judge(rules: Rules, command: int, offset: int, length: int) -> Any:
                if command in _ZERO:
                    return None
                return real(rules, command, offset, length)

            return judge

        replace(Rules, "_judge_range", make)

    def meddle(self, request: Request, below: Below) -> Reply:
        """Succeed."""
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
    breaks = "clients are told a size of 2^63 bytes more"
    takes = FIXED

    def install(self) -> None:
        """Set the sign."""
        tell_size(lambda size: size | 1 << 63)


class OffsetLengthOverflow(Mutant):
    """The end of a range wraps around."""

    id = "offset-len-overflow"
    shows = ("beyond the end",)
    says = r"errno 0|beyond"
    source = "QEMU 29b6c3b319, cloud-hypervisor PR 8388"
    breaks = "a request whose end is beyond 2^64 is carried out at the start of the volume"
    commands = _RANGED

    def install(self) -> None:
        """Compute in 64 bits."""

        def make(real: Any) -> Any:
            def judge(rules: Rules, command: int, offset: int, length: int) -> Any:
                if offset + length >= 1 << 64:
                    return None
                return real(rules, command, offset, length)

            return judge

        replace(Rules, "_judge_range", make)

    def meddle(self, request: Request, below: Below) -> Reply:
        """Wrap."""
        if request.offset + request.length >= 1 << 64:
            if not self.strikes(request):
                raise BlockError(errno.EINVAL, "beyond the end")
            if request.command is Command.READ:
                return below(changed(request, offset=0))
            return Reply()
        return below(request)

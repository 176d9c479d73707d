"""Bugs that depend on the bytes of a block: zeroes, equal sums, magic numbers (docs/bugs.md)."""

from __future__ import annotations

import re
import zlib
from array import array
from collections import Counter, OrderedDict
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, Reply, Request
from mutants.knobs import ALWAYS
from mutants.mutant import (
    BLOCK,
    Mutant,
    RequestMutant,
    blocks,
    changed,
    raising,
    read,
    whole_blocks,
    write,
)
from mutants.patching import replace
from reference_backend.store.volume import Volume

_UNIT = 65536
_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
_ZEROES = bytes(BLOCK)
MIB = 1 << 20


class BlockMutant(RequestMutant):
    """A bug that stores other bytes for some whole blocks of a write.

    ``stored`` returns what is stored instead of a block, or None to store it as it is.
    """

    commands = (Command.WRITE,)
    needs_old = False

    def stored(self, number: int, block: bytes, old: bytes) -> bytes | None:
        """Return what is stored instead of the block."""
        raise NotImplementedError

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Change the blocks of a write."""
        if request.command is not Command.WRITE:
            self.observe(request)
            return below(request)
        inside = whole_blocks(request.offset, request.length)
        first, olds = inside.start * BLOCK, b""
        if inside and self.needs_old:
            try:
                olds = read(request, raising(below), first, len(inside) * BLOCK)
            except BlockError:  # a write beyond the end
                return below(request)
        wrong: bytearray | None = None
        for number in inside:
            at = number * BLOCK - request.offset
            block = bytes(request.payload[at : at + BLOCK])
            start = number * BLOCK - first
            instead = self.stored(number, block, olds[start : start + BLOCK])
            if instead is not None and instead != block and self.strikes(request):
                wrong = bytearray(request.payload) if wrong is None else wrong
                wrong[at : at + BLOCK] = instead
        return below(request if wrong is None else changed(request, payload=bytes(wrong)))


class SharedZeroPageWritten(Mutant):
    """Blocks of zeroes refer to one page, and a small write changes it in place."""

    id = "shared-zero-page-written"
    shows = ("misplaced data", "lost write", "missing zeroes")
    says = r"not zero"
    source = "class known from stores with a page of zeroes (qcow2 zero clusters, zram)"
    breaks = "a write into a part of a written block of zeroes appears in all such blocks"
    commands = (Command.WRITE,)
    MOST = 64

    def install(self) -> None:
        """Start without blocks of zeroes."""
        self._zero: OrderedDict[int, None] = OrderedDict()

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Note blocks of zeroes; change all of them with a part of one."""
        with self._lock:
            reply = below(request)
            if request.command not in _CHANGES:
                return reply
            touched = blocks(request.offset, request.length)
            hit = [one for one in self._zero if one in touched]
            inside = whole_blocks(request.offset, request.length)
            if request.command is Command.WRITE:
                for number in hit:
                    if number not in inside and self.strikes(request):
                        self._spread(request, below, number)
            for number in hit:
                self._zero.pop(number, None)
            if request.command is Command.WRITE:
                self._note(request, inside)
            return reply

    def _note(self, request: Request, inside: range) -> None:
        for number in inside:
            at = number * BLOCK - request.offset
            if request.payload[at : at + BLOCK] == _ZEROES:
                self._zero[number] = None
        while len(self._zero) > self.MOST:
            self._zero.popitem(last=False)

    def _spread(self, request: Request, below: Below, number: int) -> None:
        start = max(request.offset, number * BLOCK)
        stop = min(request.offset + request.length, (number + 1) * BLOCK)
        data = bytes(request.payload[start - request.offset : stop - request.offset])
        for other in self._zero:
            if other != number:
                write(request, below, other * BLOCK + start % BLOCK, data)


class ZeroTailNotStored(BlockMutant):
    """The zeroes at the end of a block are not stored."""

    id = "zero-tail-not-stored"
    shows = ("missing zeroes", "lost write", "misplaced data")
    source = "class known from stores that cut trailing zeroes (nbdkit allocators, s3backer)"
    breaks = "a block that ends with 512 and more zeroes leaves what was in their place"
    needs_old = True

    def stored(self, number: int, block: bytes, old: bytes) -> bytes | None:
        """Keep the old tail."""
        kept = block.rstrip(b"\0")
        return kept + old[len(kept) :] if 0 < len(kept) <= BLOCK - 512 else None


class EqualSumWriteSkipped(BlockMutant):
    """A block is compared with its predecessor by a sum."""

    id = "equal-sum-write-skipped"
    shows = ("lost write", "misplaced data", "bit flip")
    source = "class known from writes that are skipped if nothing changes (ZFS nopwrite)"
    breaks = "a block whose bytes have the same sum as those of the old block is not written"
    needs_old = True

    def stored(self, number: int, block: bytes, old: bytes) -> bytes | None:
        """Keep the old block."""
        return old if zlib.adler32(block) & 0xFFFF == zlib.adler32(old) & 0xFFFF else None


class ZeroDetectBySum(BlockMutant):
    """A block counts as zeroes if its words have the sum 0."""

    id = "zero-detect-by-sum"
    shows = ("zeroed", "lost write", "misplaced data")
    source = "class known from zero detection by sums (vitastor 6e9307c5: is_zero)"
    breaks = "a block whose 32-bit words add up to a multiple of 2^32 is stored as zeroes"

    def stored(self, number: int, block: bytes, old: bytes) -> bytes | None:
        """Store zeroes."""
        return _ZEROES if sum(array("I", block)) % (1 << 32) == 0 else None


class DedupByCrc(BlockMutant):
    """Equal blocks are found by their CRC-32, without a comparison."""

    id = "dedup-by-crc"
    shows = ("misplaced data", "lost write")
    source = "class known from deduplication without verification"
    breaks = "a block with the CRC-32 of another block is stored as that block"
    MOST = 4096

    def install(self) -> None:
        """Start without blocks."""
        self._known: OrderedDict[int, bytes] = OrderedDict()

    def stored(self, number: int, block: bytes, old: bytes) -> bytes | None:
        """Return the first block with this CRC."""
        found = self._known.setdefault(zlib.crc32(block), block)
        if len(self._known) > self.MOST:
            self._known.popitem(last=False)
        return found


class RunLengthWraps(BlockMutant):
    """The length of a run of equal bytes has 8 bits."""

    id = "run-length-wraps"
    shows = ("misplaced data", "lost write", "zeroed")
    source = "class known from run-length compression"
    breaks = "a run of 256 and more equal bytes inside a block loses all but its length modulo 256"
    RUN = re.compile(rb"([^\x00])\1{255,}", re.DOTALL)

    def stored(self, number: int, block: bytes, old: bytes) -> bytes | None:
        """Cut the runs, and move the rest forward."""
        if block == block[:1] * BLOCK or not self.RUN.search(block):
            return None
        short = self.RUN.sub(lambda run: run[1] * (len(run[0]) % 256), block)
        return short + bytes(BLOCK - len(short))


class VersionByteWraps(BlockMutant):
    """The version of a block has 8 bits, and the larger one is the newer."""

    id = "version-byte-wraps"
    shows = ("lost write", "misplaced data")
    source = "class known from versions of blocks (DRBD and replicated logs with short counters)"
    breaks = "the 256th and later whole writes to a block of 4 KiB are dropped"
    needs_old = True

    def install(self) -> None:
        """Start with version 0."""
        self._version: Counter[int] = Counter()

    def stored(self, number: int, block: bytes, old: bytes) -> bytes | None:
        """Keep the old block."""
        self._version[number] += 1
        return old if self._version[number] > 255 else None

    def observe(self, request: Request) -> None:
        """Forget the versions of what is discarded."""
        if request.command in {Command.TRIM, Command.WRITE_ZEROES}:
            gone = whole_blocks(request.offset, request.length)
            for number in [one for one in self._version if one in gone]:
                del self._version[number]


class ZeroesSkipCompressed(RequestMutant):
    """A bit in the entry of a compressed cluster is taken for the mark of a zeroed one."""

    id = "zeroes-skip-compressed"
    shows = ("missing zeroes", "lost write")
    says = r"not zero"
    source = "cloud-hypervisor 2b61bda35"
    breaks = "write zeroes leaves 64 KiB clusters whose compressed size has an odd sector count"
    commands = (Command.WRITE_ZEROES,)

    def damages(self, request: Request) -> bool:
        """Return whether whole clusters are zeroed."""
        return (
            bool(whole_blocks(request.offset, request.length, _UNIT)) and request.length < 4 * MIB
        )

    def damage(self, request: Request, below: Below) -> Reply:
        """Zero, and restore what counts as zeroed already."""
        kept = []
        for unit in whole_blocks(request.offset, request.length, _UNIT):
            data = read(request, below, unit * _UNIT, _UNIT)
            packed = len(zlib.compress(data, 1))
            if data.count(0) < _UNIT and packed < _UNIT // 2 and packed // 512 % 2:
                kept.append((unit * _UNIT, data))
        reply = below(request)
        for offset, data in kept:
            write(request, below, offset, data)
        return reply


class JournalMagicNotRestored(Mutant):
    """A log escapes blocks that begin with its own magic, and does not restore them."""

    id = "journal-magic-not-restored"
    shows = ("lost write", "misplaced data", "torn", "altered", "zeroed")
    source = "class known from journals with escaped magics (Linux jbd2, JBD2_FLAG_ESCAPE)"
    breaks = "after a power cut, blocks that begin with the magic of a journal begin with zeroes"
    takes = ALWAYS
    MAGIC = bytes.fromhex("c03b3998")

    def install(self) -> None:
        """Note such blocks, and damage them after a power cut."""
        noted: set[tuple[int, int]] = set()

        def make_write(real: Any) -> Any:
            def write_(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                real(volume, offset, data, fua)
                for number in whole_blocks(offset, len(data)):
                    at = number * BLOCK - offset
                    if data[at : at + 4] == self.MAGIC:
                        noted.add((id(volume), number * BLOCK))

            return write_

        def make_cut(real: Any) -> Any:
            def power_cut(volume: Volume, seed: int) -> None:
                real(volume, seed)
                store = volume._powered  # noqa: SLF001  # a mutant changes code
                for whose, offset in sorted(noted):
                    is_here = whose == id(volume) and offset + BLOCK <= volume.size
                    if is_here and store.read(offset, 4) == self.MAGIC and self.strikes():
                        store.write(offset, bytes(4))
                noted.clear()

            return power_cut

        replace(Volume, "write", make_write)
        replace(Volume, "power_cut", make_cut)


class ZeroPayloadEndsLog(RequestMutant):
    """The end of a log is recognised by zeroes."""

    id = "zero-payload-ends-log"
    shows = ("lost write",)
    source = "class known from logs that end with zeroes (recovery by scanning)"
    breaks = "a flush makes nothing durable if a write of zeroes is among the changes before it"
    commands = (Command.FLUSH,)

    def install(self) -> None:
        """Start with an empty log."""
        self._has_zeroes = False

    def observe(self, request: Request) -> None:
        """Note writes of zeroes."""
        if request.command is Command.WRITE and request.length >= 512:
            self._has_zeroes |= not any(bytes(request.payload[:65536]))

    def damages(self, request: Request) -> bool:
        """Return whether the log has zeroes."""
        found, self._has_zeroes = self._has_zeroes, False
        return found

    def damage(self, request: Request, below: Below) -> Reply:
        """Acknowledge the flush."""
        return Reply()

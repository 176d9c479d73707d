"""Stores that encrypt, compress, deduplicate or detect patterns (docs/bugs.md)."""

from __future__ import annotations

import zlib

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
    write,
)

_CLUSTER = 65536
_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)


class TweakUnitChanges(ReplyMutant):
    """Sectors are encrypted with a number that depends on how the request was cut."""

    id = "tweak-unit-changes"
    shows = ("unknown", "misplaced data", "bit flip")
    source = "openzfs issue 16631, dm-writeboost issue 111 (dm-crypt above)"
    breaks = "a block of 4 KiB that was written in part is garbage in reads that start on 1 MiB"
    commands = (Command.READ,)

    def install(self) -> None:
        """Start with no block written in part."""
        self._part: set[int] = set()

    def observe(self, request: Request) -> None:
        """Note blocks that are written in part."""
        if request.command in _CHANGES and request.length <= 1 << 26:
            touched = blocks(request.offset, request.length)
            whole = whole_blocks(request.offset, request.length)
            self._part.difference_update(whole)
            if request.command is Command.WRITE:
                self._part.update({*touched[:1], *touched[-1:]} - set(whole))

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether the read starts on 1 MiB and has such a block."""
        whole = whole_blocks(request.offset, request.length)
        return request.offset % (1 << 20) == 0 and not self._part.isdisjoint(whole)

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Decrypt such blocks with another number."""
        data = bytearray(reply.data)
        for number in self._part.intersection(whole_blocks(request.offset, request.length)):
            at = number * BLOCK - request.offset
            data[at : at + BLOCK] = bytes(byte ^ 0x5C for byte in data[at : at + BLOCK])
        reply.data = bytes(data)


def _is_small(data: bytes) -> bool:
    return len(zlib.compress(data, 1)) * 2 < len(data)


class _Compressed(RequestMutant):
    """A store that compresses clusters of 64 KiB that are written as a whole."""

    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start with nothing compressed."""
        self._small: set[int] = set()

    def clusters(self, request: Request) -> list[int]:
        """Return the compressed clusters that the request touches."""
        if request.length > 1 << 26:
            return []
        return sorted(self._small.intersection(blocks(request.offset, request.length, _CLUSTER)))

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Carry out the request, and note which clusters are compressed now."""
        reply = super().carry_out(request, below)
        if request.command in _CHANGES:
            self._small.difference_update(self.clusters(request))
        if request.command is Command.WRITE:
            data = bytes(request.payload)
            for number in whole_blocks(request.offset, request.length, _CLUSTER):
                at = number * _CLUSTER - request.offset
                if _is_small(data[at : at + _CLUSTER]):
                    self._small.add(number)
        return reply


class CompressedBlockGrows(_Compressed):
    """Data that does not fit into the place of a compressed cluster is cut."""

    id = "compressed-block-grows"
    shows = ("lost write", "misplaced data", "zeroed")
    source = "class known from compressing stores (SPDK reduce 9366d22de1)"
    breaks = (
        "a compressible cluster of 64 KiB, overwritten with random data, ends with 4 KiB of zeroes"
    )

    def damages(self, request: Request) -> bool:
        """Return whether a compressed cluster is overwritten as a whole by random data."""
        return bool(self._grown(request))

    def _grown(self, request: Request) -> list[int]:
        data = bytes(request.payload)
        whole = whole_blocks(request.offset, request.length, _CLUSTER)
        found = []
        for number in self.clusters(request):
            at = number * _CLUSTER - request.offset
            if number in whole and not _is_small(data[at : at + _CLUSTER]):
                found.append(number)
        return found

    def damage(self, request: Request, below: Below) -> Reply:
        """Zero the end of the clusters that grow."""
        data = bytearray(request.payload)
        for number in self._grown(request):
            end = (number + 1) * _CLUSTER - request.offset
            data[end - BLOCK : end] = bytes(BLOCK)
        return below(changed(request, payload=bytes(data)))


class CompressedPartOverwrite(_Compressed):
    """A part of a compressed cluster is written without the rest being unpacked."""

    id = "compressed-part-overwrite"
    shows = ("zeroed", "misplaced data")
    source = "class known from compressed clusters of image formats"
    breaks = (
        "a write into a part of a compressible cluster of 64 KiB zeroes what is behind it there"
    )

    def damages(self, request: Request) -> bool:
        """Return whether the write ends inside a compressed cluster."""
        end = request.offset + request.length
        return end % _CLUSTER != 0 and end // _CLUSTER in self._small

    def damage(self, request: Request, below: Below) -> Reply:
        """Zero the rest of the cluster."""
        reply = below(request)
        end = request.offset + request.length
        write(request, below, end, bytes(-end % _CLUSTER))
        return reply


class DedupPrefixHash(RequestMutant):
    """Blocks are compared by a hash of their beginning."""

    id = "dedup-prefix-hash"
    shows = ("misplaced data", "lost write", "bit flip")
    source = "class known from deduplicating stores with weak hashes"
    breaks = "a block of 4 KiB that begins with the 3584 bytes of another one is stored as that one"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start with no block known."""
        self._known: dict[int, bytes] = {}

    def damages(self, request: Request) -> bool:
        """Return whether a whole block is like a known one; learn the others."""
        self._wrong = bytearray(request.payload)
        for number in whole_blocks(request.offset, request.length):
            at = number * BLOCK - request.offset
            block = bytes(request.payload[at : at + BLOCK])
            self._wrong[at : at + BLOCK] = self._known.setdefault(hash(block[:3584]), block)
        return self._wrong != request.payload

    def damage(self, request: Request, below: Below) -> Reply:
        """Store the known blocks."""
        return below(changed(request, payload=bytes(self._wrong)))


class ZeroDetectSamples(RequestMutant):
    """Zeroes are detected by a few bytes of each block."""

    id = "zero-detect-samples"
    shows = ("zeroed", "lost write", "misplaced data", "bit flip", "altered")
    source = "class known from zero detection (QEMU buffer_is_zero reads three bytes first)"
    breaks = "a block of 4 KiB whose every 64th byte is zero is stored as zeroes"
    commands = (Command.WRITE,)

    def damages(self, request: Request) -> bool:
        """Return whether such a block is not zero."""
        data = bytes(request.payload)
        self._wrong = bytearray(data)
        for number in whole_blocks(request.offset, request.length):
            at = number * BLOCK - request.offset
            if not any(data[at : at + BLOCK : 64]):
                self._wrong[at : at + BLOCK] = bytes(BLOCK)
        return self._wrong != request.payload

    def damage(self, request: Request, below: Below) -> Reply:
        """Store zeroes."""
        return below(changed(request, payload=bytes(self._wrong)))


class PatternCollapsed(RequestMutant):
    """A block of one repeated word is stored as one repeated byte."""

    id = "pattern-collapsed"
    shows = ("misplaced data", "lost write", "altered", "unknown")
    source = "class known from stores with same-filled pages (zram)"
    breaks = (
        "a block of 4 KiB that repeats one word of 8 bytes is stored as its first byte, repeated"
    )
    commands = (Command.WRITE,)

    def damages(self, request: Request) -> bool:
        """Return whether there is such a block."""
        data = bytes(request.payload)
        self._wrong = bytearray(data)
        for number in whole_blocks(request.offset, request.length):
            at = number * BLOCK - request.offset
            if data[at : at + BLOCK] == data[at : at + 8] * (BLOCK // 8):
                self._wrong[at : at + BLOCK] = data[at : at + 1] * BLOCK
        return self._wrong != request.payload

    def damage(self, request: Request, below: Below) -> Reply:
        """Store the byte."""
        return below(changed(request, payload=bytes(self._wrong)))


class ReferenceCountWraps(Mutant):
    """The count of the users of a block has 8 bits."""

    id = "reference-count-wraps"
    shows = ("zeroed",)
    source = "class known from deduplicating stores with small reference counts"
    breaks = "if 256 blocks of 4 KiB are equal and one is overwritten, all become zeroes"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start with no block known."""
        self._users: dict[int, set[int]] = {}
        self._hash_of: dict[int, int] = {}

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Count users, and free a block whose count wrapped."""
        reply = below(request)
        if request.command not in _CHANGES or request.length > 1 << 26:
            return reply
        whole = whole_blocks(request.offset, request.length)
        for number in blocks(request.offset, request.length):
            self._forget(number, request, below)
            if number in whole and request.command is Command.WRITE:
                at = number * BLOCK - request.offset
                key = hash(bytes(request.payload[at : at + BLOCK]))
                self._hash_of[number] = key
                self._users.setdefault(key, set()).add(number)
        return reply

    def _forget(self, number: int, request: Request, below: Below) -> None:
        key = self._hash_of.pop(number, None)
        if key is None:
            return
        users = self._users[key]
        users.discard(number)
        if len(users) == 255 and self.strikes(request):
            for user in sorted(users):
                if any(read(request, below, user * BLOCK, BLOCK)):
                    write(request, below, user * BLOCK, bytes(BLOCK))

"""Contents of blocks on which stores depend: zeroes, runs, equal checksums, magic numbers.

A store that compares, compresses, deduplicates, encrypts or logs blocks may take one block for
another, for zeroes, or for something of its own. The blocks here are made to be mistaken.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from random import Random

BLOCK = 4096
MAGICS = (
    b"\xc0\x3b\x39\x98",  # jbd2, the journal of ext4
    b"QFI\xfb",  # qcow2
    b"LUKS\xba\xbe",
    b"EFI PART",
    b"KDMV",  # VMDK
    b"vhdxfile",
    b"conectix",  # VHD
    b"XFSB",
    b"XAGF",
    b"\xfe\xed\xba\xbe",  # the log of XFS
    b"_BHRfS_M",  # btrfs
    b"\xfc\x4e\x2b\xa9",  # md
    b"LABELONE",  # LVM
    b"\x28\xb5\x2f\xfd",  # zstd
    b"\x04\x22\x4d\x18",  # LZ4
    b"\x1f\x8b\x08\x00",  # gzip
    b"\x78\x9c",  # zlib
    b"PK\x03\x04",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x00\x00\x00\x00\x00\x00\x00\x01",
    b"\xef\xbe\xad\xde",
    b"\x25\x60\x95\x13",  # an NBD request
    b"\x67\x44\x66\x98",  # an NBD reply
    b"NBDMAGIC",
    b"IHAVEOPT",
)
"""Beginnings by which programs recognise blocks of their own."""


class Contents:
    """Draws the contents of writes.

    :param stamps: share of writes for which `draw` returns None, that is, stamped data.
    """

    def __init__(self, random: Random, stamps: float = 0.5) -> None:
        self._random = random
        self._stamps = stamps
        self._kinds = kinds(random)
        self._recent: list[bytes] = []

    def draw(self, length: int) -> bytes | None:
        """Return contents of so many bytes, some of them drawn before; None for a stamp."""
        random = self._random
        if random.random() < self._stamps:
            return None
        block = random.choice(self._recent) if self._recent and random.random() < 0.4 else b""
        if not block:
            block = random.choice(self._kinds)()
            self._recent = [*self._recent[-7:], block]
        repeated = block * -(-length // len(block))
        return repeated[:length]


def kinds(random: Random) -> list[Callable[[], bytes]]:
    """Return functions, each of which makes a new block of 4096 bytes of one kind."""
    return list(kinds_by_name(random).values())


def kinds_by_name(random: Random) -> dict[str, Callable[[], bytes]]:
    """Return the functions of `kinds`, by the names of the kinds."""
    return {
        "zeroes": lambda: bytes(BLOCK),
        "a byte repeated": lambda: bytes([random.randrange(1, 256)]) * BLOCK,
        "a word repeated": lambda: random.randbytes(8) * (BLOCK // 8),
        "a magic number": lambda: (
            random.choice(MAGICS).ljust(16, b"\x01") + random.randbytes(BLOCK - 16)
        ),
        "ending in zeroes": lambda: _ending_in_zeroes(random),
        "beginning with zeroes": lambda: _ending_in_zeroes(random)[::-1],
        "runs": lambda: _runs(random),
        "words that cancel": lambda: _sum_of_zero(random),
        "resembling": lambda: _look_alike(random),
        "random": lambda: random.randbytes(BLOCK),
    }


def _look_alike(random: Random) -> bytes:
    return random.choice([one for _, pair in look_alikes(random) for one in pair])


def _ending_in_zeroes(random: Random) -> bytes:
    kept = random.choice((1, 511, 512, 1024, random.randrange(1, BLOCK)))
    return random.randbytes(kept).ljust(BLOCK, b"\0")


def _runs(random: Random) -> bytes:
    """Return runs of equal bytes, around the lengths at which counters of 8 and 16 bits end."""
    data = bytearray()
    while len(data) < BLOCK:
        length = random.choice((1, 3, 127, 128, 129, 255, 256, 257, 300, 511, 512, 513, 1024))
        data += bytes([random.randrange(256)]) * length
    return bytes(data[:BLOCK])


def _sum_of_zero(random: Random) -> bytes:
    """Return words that cancel each other: pairs of x and -x, of 16, 32 and 64 bits."""
    size = random.choice((2, 4, 8))
    data = bytearray()
    while len(data) < BLOCK:
        word = random.randrange(1, 1 << (8 * size))
        data += word.to_bytes(size, "little") + (-word % (1 << (8 * size))).to_bytes(size, "little")
    return bytes(data)


def look_alikes(random: Random) -> Iterator[tuple[str, tuple[bytes, bytes]]]:
    """Yield pairs of different blocks that one weak comparison takes for equal, with its name."""
    one = random.randbytes(BLOCK)
    low, high = sorted(random.sample(range(BLOCK // 8), 2))
    words = [one[at : at + 8] for at in range(0, BLOCK, 8)]
    words[low], words[high] = words[high], words[low]
    yield "sum and XOR of words", (one, b"".join(words))
    yield "sum of bytes", (one, one[1:] + one[:1])
    yield "Adler-32 and Fletcher", (one, _same_adler(one, low * 8))
    yield "CRC-32", (one, _same_crc(one, random))
    yield "the first 512 bytes", (one, one[:512] + random.randbytes(BLOCK - 512))
    yield "the last 512 bytes", (one, random.randbytes(BLOCK - 512) + one[-512:])
    yield "the first and last 1 KiB", (one, one[:1024] + random.randbytes(2048) + one[-1024:])
    at = random.randrange(BLOCK)
    yield "all but one bit", (one, one[:at] + bytes([one[at] ^ 1 << at % 8]) + one[at + 1 :])


def _same_adler(block: bytes, at: int) -> bytes:
    """Add 1, -2, 1 to three neighbouring bytes: the sum and the sum of sums stay."""
    data = bytearray(block)
    data[at] = min(data[at], 254)
    data[at + 1] = max(data[at + 1], 2)
    data[at + 2] = min(data[at + 2], 254)
    wrong = bytearray(data)
    for place, change in ((at, 1), (at + 1, -2), (at + 2, 1)):
        wrong[place] += change
    return bytes(wrong) if bytes(data) == block else _same_adler(block, (at + 8) % (BLOCK - 8))


def _same_crc(block: bytes, random: Random) -> bytes:
    """Return another block with the CRC-32 of this one; its last four bytes see to that."""
    start = random.randbytes(BLOCK - 4)
    table = [zlib.crc32(bytes([one])) ^ zlib.crc32(b"\0") for one in range(256)]
    by_top = {entry >> 24: index for index, entry in enumerate(table)}
    register, indexes = zlib.crc32(block) ^ 0xFFFFFFFF, []
    for _ in range(4):
        index = by_top[register >> 24]
        indexes.append(index)
        register = (register ^ table[index]) << 8 & 0xFFFFFFFF
    state, end = zlib.crc32(start) ^ 0xFFFFFFFF, bytearray()
    for index in reversed(indexes):
        end.append(index ^ state & 0xFF)
        state = table[index] ^ state >> 8
    return start + bytes(end)

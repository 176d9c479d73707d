"""Each mutant of page_contents.py by its effect."""

from __future__ import annotations

import random
import zlib

import pytest

from mutants.page_contents import JournalMagicNotRestored
from tests.mutants.bench import BLOCK, MIB, UNIT, Bench
from tests.mutants.conftest import Serve, cut


def test_blocks_of_zeroes_share_a_page() -> None:
    bench = Bench("shared-zero-page-written")
    bench.write(0, b"a" * 4 * BLOCK)
    bench.write(0, bytes(BLOCK))
    bench.write(2 * BLOCK, bytes(BLOCK))
    bench.write(512, b"b" * 512)
    assert bench.read(2 * BLOCK, BLOCK) == bytes(512) + b"b" * 512 + bytes(3072)
    assert bench.read(3 * BLOCK, 1) == b"a"


def test_a_tail_of_zeroes_is_not_stored() -> None:
    bench = Bench("zero-tail-not-stored")
    bench.write(0, b"a" * BLOCK)
    bench.write(0, b"b" * 1024 + bytes(3072))
    assert bench.read(0, BLOCK) == b"b" * 1024 + b"a" * 3072
    bench.write(0, bytes(BLOCK))
    assert bench.read(0, BLOCK) == bytes(BLOCK)


def test_a_block_with_an_equal_sum_is_not_written() -> None:
    bench = Bench("equal-sum-write-skipped")
    bench.write(0, b"ab" * 2048)
    bench.write(0, b"ba" * 2048)
    assert bench.read(0, 2) == b"ab"
    bench.write(0, b"bb" * 2048)
    assert bench.read(0, 2) == b"bb"


def test_words_with_the_sum_zero_are_zeroes() -> None:
    bench = Bench("zero-detect-by-sum")
    word = (1).to_bytes(4, "little") + (2**32 - 1).to_bytes(4, "little")
    bench.write(0, word * 512)
    assert bench.read(0, BLOCK) == bytes(BLOCK)


def test_blocks_with_one_crc_are_one_block() -> None:
    bench = Bench("dedup-by-crc")
    first, other = b"a" * BLOCK, b"b" * (BLOCK - 4)
    wanted = zlib.crc32(first)
    other += _suffix(zlib.crc32(other), wanted)
    assert zlib.crc32(other) == wanted
    bench.write(0, first)
    bench.write(BLOCK, other)
    assert bench.read(BLOCK, BLOCK) == first


def _suffix(state: int, wanted: int) -> bytes:
    """Return four bytes that continue a CRC-32 to a wanted value."""
    table = [zlib.crc32(bytes([one])) ^ zlib.crc32(b"\0") ^ 0 for one in range(256)]
    table = [one ^ table[0] for one in table]
    tops = {entry >> 24: index for index, entry in enumerate(table)}
    register, indexes = wanted ^ 0xFFFFFFFF, []
    for _ in range(4):
        index = tops[register >> 24]
        indexes.append(index)
        register = ((register ^ table[index]) << 8) & 0xFFFFFFFF
    state ^= 0xFFFFFFFF
    found = bytearray()
    for index in reversed(indexes):
        found.append(index ^ state & 0xFF)
        state = table[index] ^ state >> 8
    return bytes(found)


def test_a_long_run_is_cut() -> None:
    bench = Bench("run-length-wraps")
    bench.write(0, b"x" + b"a" * 260 + b"y" * 3835)
    assert bench.read(0, 8) == b"xaaaayyy"
    bench.write(0, b"a" * BLOCK)
    assert bench.read(0, BLOCK) == b"a" * BLOCK


def test_the_256th_version_is_dropped() -> None:
    bench = Bench("version-byte-wraps")
    for turn in range(256):
        bench.write(0, bytes([turn]) * BLOCK)
    assert bench.read(0, 1) == bytes([254])
    bench.write(0, b"a" * 512)
    assert bench.read(0, 1) == b"a"


def test_some_compressed_clusters_are_not_zeroed() -> None:
    bench = Bench("zeroes-skip-compressed")
    source = random.Random(1)
    kept = 0
    for words in range(1, 40):
        data = (source.randbytes(words * 256) + bytes(UNIT))[:UNIT]
        bench.write(0, data)
        bench.zero(0, UNIT)
        kept += bench.read(0, UNIT) == data
    assert 10 < kept < 30


def test_a_magic_is_lost_in_a_power_cut(serve: Serve) -> None:
    magic = JournalMagicNotRestored.MAGIC
    with serve("journal-magic-not-restored") as server:
        with server.connect("v") as nbd:
            nbd.write(0, magic + b"a" * (BLOCK - 4))
            nbd.flush()
            assert bytes(nbd.read(0, 4)) == magic
        cut(server, 1)
        with server.connect("v") as nbd:
            assert bytes(nbd.read(0, 8)) == bytes(4) + b"aaaa"


@pytest.mark.parametrize("block", [b"a", b"\0"])
def test_zeroes_end_the_log(block: bytes) -> None:
    bench = Bench("zero-payload-ends-log")
    bench.write(0, block * BLOCK)
    bench.write(MIB, b"b" * BLOCK)
    bench.seen.clear()
    bench.flush()
    assert bool(bench.seen) == (block == b"a")
    bench.flush()
    assert bench.seen

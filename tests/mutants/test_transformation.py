"""Each mutant of transformation.py by its effect."""

from __future__ import annotations

import random

from tests.mutants.bench import BLOCK, MIB, UNIT, Bench


def test_a_block_that_was_written_in_part_is_garbage_in_some_reads() -> None:
    bench = Bench("tweak-unit-changes")
    bench.write(512, b"x" * 512)
    assert bench.read(0, BLOCK) == b"\x5c" * 512 + bytes([ord("x") ^ 0x5C]) * 512 + b"\x5c" * 3072
    assert bench.read(512, 512) == b"x" * 512
    bench.write(0, b"y" * BLOCK)
    assert bench.read(0, BLOCK) == b"y" * BLOCK


def test_a_compressed_cluster_that_grows_is_cut() -> None:
    bench = Bench("compressed-block-grows")
    noise = random.Random(1).randbytes(UNIT)
    bench.write(0, noise)
    bench.write(0, b"x" * UNIT)
    bench.write(0, noise)
    assert bench.read(0, UNIT) == noise[:-BLOCK] + bytes(BLOCK)


def test_the_rest_of_a_compressed_cluster_is_lost() -> None:
    bench = Bench("compressed-part-overwrite")
    bench.write(0, b"x" * UNIT)
    bench.write(512, b"y" * 512)
    assert bench.read(0, UNIT) == b"x" * 512 + b"y" * 512 + bytes(UNIT - 1024)


def test_blocks_with_equal_beginnings_are_equal() -> None:
    bench = Bench("dedup-prefix-hash")
    bench.write(0, b"x" * BLOCK)
    bench.write(BLOCK, b"x" * 4000 + b"y" * 96)
    assert bench.read(BLOCK, BLOCK) == b"x" * BLOCK


def test_zeroes_are_detected_by_samples() -> None:
    bench = Bench("zero-detect-samples")
    bench.write(0, bytes(63) + b"x" + bytes(BLOCK - 64))
    assert not any(bench.read(0, BLOCK))


def test_a_repeated_word_becomes_a_byte() -> None:
    bench = Bench("pattern-collapsed")
    bench.write(0, b"abcdefgh" * 512)
    assert bench.read(0, BLOCK) == b"a" * BLOCK


def test_a_reference_count_wraps() -> None:
    bench = Bench("reference-count-wraps")
    bench.write(0, b"x" * MIB)
    bench.write(0, b"y" * BLOCK)
    assert bench.read(0, 2 * BLOCK) == b"y" * BLOCK + bytes(BLOCK)

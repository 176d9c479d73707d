"""Each mutant of mapping.py by its effect."""

from __future__ import annotations

from tests.mutants.bench import BLOCK, MIB, UNIT, Bench

TIB = 1 << 40


def test_a_split_loses_an_entry() -> None:
    bench = Bench("map-split-loses-entry", 8 * MIB)
    for unit in reversed(range(33)):
        bench.write(unit * UNIT, b"x" * 512)
    zeroed = [unit for unit in range(33) if bench.read(unit * UNIT, 1) == b"\0"]
    assert zeroed == [16]
    bench.write(16 * UNIT, b"y" * 512)
    assert bench.read(16 * UNIT, 1) == b"y"


def test_appending_loses_nothing() -> None:
    bench = Bench("map-split-loses-entry", 8 * MIB)
    for unit in range(100):
        bench.write(unit * UNIT, b"x" * 512)
    assert all(bench.read(unit * UNIT, 1) == b"x" for unit in range(100))


def test_an_index_wraps() -> None:
    bench = Bench("map-index-wraps", 70 * MIB)
    bench.write(65 * MIB - 512, b"x" * 1024)
    assert bench.read(MIB - 512, 1024) == b"x" * 1024
    assert bench.read(65 * MIB - 512, 1024) == bytes(1024)


def test_the_largest_index_is_empty() -> None:
    bench = Bench("map-magic-index-is-empty", 17 * TIB)
    bench.write(16 * TIB - 2 * BLOCK, b"x" * 3 * BLOCK)
    assert bench.read(16 * TIB - 2 * BLOCK, 3 * BLOCK) == (
        b"x" * BLOCK + bytes(BLOCK) + b"x" * BLOCK
    )

"""Each mutant of caching.py by its effect."""

from __future__ import annotations

import pytest

from blockio.layers import Command, CommandFlag
from tests.mutants.bench import BLOCK, MIB, UNIT, Bench


def test_an_evicted_block_returns_to_its_first_version() -> None:
    bench = Bench("eviction-restores-old")
    bench.write(0, b"a" * BLOCK)
    bench.write(0, b"b" * BLOCK)
    for number in range(64):
        assert bench.read(0, 1) == b"b"
        bench.write(MIB + number * 512, b"x" * 512)
    assert bench.read(0, 1) == b"a"


def test_a_write_is_hidden_by_what_was_read_ahead() -> None:
    bench = Bench("prefetch-hides-write")
    for at in (0, UNIT):
        bench.read(at, UNIT)
    bench.write(2 * UNIT, b"x" * 512)
    assert bench.read(2 * UNIT, UNIT) == bytes(UNIT)
    assert bench.read(2 * UNIT, 512) == b"x" * 512


def test_a_write_with_fua_is_hidden_by_what_a_hint_loaded() -> None:
    bench = Bench("cache-hint-hides-fua")
    bench.ask(Command.CACHE, 0, BLOCK)
    bench.write(0, b"x" * BLOCK, CommandFlag.FUA)
    assert bench.read(0, BLOCK) == bytes(BLOCK)
    bench.write(0, b"x" * BLOCK)
    assert bench.read(0, BLOCK) == b"x" * BLOCK


def test_a_long_write_is_hidden_by_what_was_read() -> None:
    bench = Bench("large-write-bypasses-cache")
    bench.read(0, BLOCK)
    bench.write(0, b"x" * MIB)
    assert bench.read(0, 2 * BLOCK) == bytes(BLOCK) + b"x" * BLOCK


def test_zeroes_invalidate_the_first_part() -> None:
    bench = Bench("zeroes-invalidate-in-part", 8 * MIB)
    bench.write(0, b"x" * 4 * MIB)
    for at in (0, 3 * MIB):
        bench.read(at, BLOCK)
    bench.zero(0, 4 * MIB)
    assert [bench.read(at, 1) for at in (0, 3 * MIB)] == [b"\0", b"\0"]
    assert [bench.read(at, BLOCK)[:1] for at in (0, 3 * MIB)] == [b"\0", b"x"]


@pytest.mark.parametrize("later", [1, 5])
def test_a_copy_overwrites_a_newer_write(later: int) -> None:
    bench = Bench("resync-overwrites-newer")
    for number in range(32):
        bench.write(0, bytes([number]) * 512)
    for number in range(later):
        bench.read(number, 1)
    assert bench.volume.read(0, 1)[0] == (31 if later < 4 else 30)

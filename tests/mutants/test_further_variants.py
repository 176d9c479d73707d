"""Each mutant of further_variants.py by its effect."""

from __future__ import annotations

import pytest

from blockio.errors import BlockError
from blockio.layers import Command
from tests.mutants.bench import BLOCK, MIB, UNIT, Bench
from tests.mutants.conftest import Serve, cut


def test_an_error_is_remembered_for_a_unit() -> None:
    bench = Bench("error-cached-for-unit")
    bench.fail(Command.READ)
    for at in (0, BLOCK):
        with pytest.raises(BlockError):
            bench.read(at, BLOCK)
    assert bench.read(BLOCK, 1) == bytes(1)


def test_a_flush_leaves_long_writes(serve: Serve) -> None:
    found = set()
    with serve("flush-skips-long-writes") as server:
        for seed in range(6):
            with server.connect("v") as nbd:
                nbd.write(0, b"a" * MIB)
                nbd.write(MIB, b"a" * BLOCK)
                nbd.flush()
                cut(server, seed)
            with server.connect("v") as nbd:
                assert nbd.read(MIB, 1) == b"a"
                found |= {bytes(nbd.read(0, 1)), bytes(nbd.read(MIB - 512, 1))}
                nbd.write_zeroes(0, 2 * MIB)
                nbd.flush()
    assert found == {b"\0", b"a"}


def test_a_reply_wraps() -> None:
    bench = Bench("send-ring-wraps", size=8 * MIB)
    bench.write(0, bytes(range(256)) * (8 * MIB // 256))
    assert bench.read(0, 4 * MIB) == bench.read(0, 1) + bench.read(1, 4 * MIB - 1)
    assert bench.read(100, MIB)[:3] == b"def"
    rest = 8 * MIB - (4 * MIB + 1 + 4 * MIB - 1 + MIB) % (8 * MIB)
    while rest > MIB:
        bench.read(0, MIB)
        rest -= MIB
    bench.read(0, rest - 3)
    assert bench.read(0, 6) == b"\0\1\2\0\1\2"


def test_the_128th_part_is_dropped() -> None:
    bench = Bench("version-of-parts-wraps")
    for turn in range(127):
        bench.write(0, bytes([turn + 1]) * 512)
    bench.write(0, b"\xff" * 512)
    assert bench.read(0, 1) == bytes([127])
    bench.write(0, b"w" * BLOCK)
    bench.write(0, b"\xff" * 512)
    assert bench.read(0, 1) == b"\xff"


def test_combined_zeroes_are_invisible_to_others() -> None:
    bench = Bench("combined-zeroes-invisible")
    bench.write(0, b"a" * UNIT)
    bench.zero(0, BLOCK)
    bench.zero(BLOCK, BLOCK)
    assert bench.read(0, 2 * BLOCK, connection=2) == bytes(BLOCK) + b"a" * BLOCK
    assert bench.read(0, 2 * BLOCK) == bytes(2 * BLOCK)
    assert bench.read(0, 2 * BLOCK, connection=2) == bytes(2 * BLOCK)


def test_the_lower_offset_wins() -> None:
    bench = Bench("tie-by-offset")
    bench.write(0, b"a" * 2 * BLOCK)
    bench.write(BLOCK, b"b" * 2 * BLOCK)
    assert bench.read(0, 3 * BLOCK) == b"a" * 2 * BLOCK + b"b" * BLOCK

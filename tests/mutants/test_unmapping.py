"""Each mutant of unmapping.py by its effect."""

from __future__ import annotations

import pytest

from blockio.errors import BlockError
from blockio.layers import Command, CommandFlag
from tests.mutants.bench import BLOCK, MIB, UNIT, Bench
from tests.mutants.conftest import Serve

GIB = 1 << 30


def test_a_short_discard_hits_the_block_before() -> None:
    bench = Bench("discard-length-negative")
    bench.write(0, b"x" * 3 * BLOCK)
    bench.trim(BLOCK + 512, 512)
    assert bench.read(0, 3 * BLOCK) == bytes(BLOCK) + b"x" * 2 * BLOCK


def test_a_write_is_lost_while_its_cluster_is_discarded(serve: Serve) -> None:
    lost = 0
    with (
        serve("discard-races-write") as server,
        server.connect("v") as one,
        server.connect("v") as two,
    ):
        for turn in range(100):
            asked = one.send_request(Command.TRIM, 0, BLOCK)
            two.write(2 * BLOCK, bytes([turn + 1]) * BLOCK)
            one.receive_reply(asked)
            lost += two.read(2 * BLOCK, 1)[0] != turn + 1
    assert lost


def test_a_late_punch_hits_the_new_owner() -> None:
    bench = Bench("stale-punch-after-reuse")
    bench.write(0, b"x" * UNIT)
    bench.trim(0, UNIT)
    bench.flush()
    bench.write(MIB, b"y" * 512)
    assert bench.read(MIB, 512) == bytes(512)


def test_a_cluster_is_allocated_twice_after_an_error() -> None:
    bench = Bench("double-allocation-after-error")
    bench.write(0, b"a" * UNIT)
    bench.fail(Command.WRITE)
    with pytest.raises(BlockError):
        bench.write(MIB, b"b" * 512)
    bench.write(MIB, b"c" * 512)
    assert bench.read(0, 1024) == b"c" * 512 + b"a" * 512


def test_a_gap_between_zeroes_is_zeroed() -> None:
    bench = Bench("zeroes-merged-over-gap")
    bench.write(0, b"x" * 4 * BLOCK)
    bench.zero(0, BLOCK)
    bench.zero(2 * BLOCK, BLOCK)
    assert bench.read(0, 4 * BLOCK) == bytes(3 * BLOCK) + b"x" * BLOCK


def test_a_discard_is_carried_out_behind_a_write() -> None:
    bench = Bench("discard-behind-write")
    bench.trim(0, BLOCK)
    bench.write(0, b"x" * BLOCK)
    assert bench.read(0, 1) == b"x"
    bench.flush()
    assert bench.read(0, 1) == b"\0"


def test_freed_data_is_shown_around_a_new_write() -> None:
    bench = Bench("thin-reuse-shows-others")
    bench.write(0, b"x" * UNIT)
    bench.trim(0, UNIT)
    bench.write(MIB, b"y" * 512)
    assert bench.read(MIB, 1024) == b"y" * 512 + b"x" * 512


def test_a_refused_fast_zero_changes_data() -> None:
    bench = Bench("fast-zero-done-in-part")
    bench.write(0, b"x" * 3 * BLOCK)
    with pytest.raises(BlockError):
        bench.zero(512, 2 * BLOCK, CommandFlag.FAST_ZERO)
    assert bench.read(BLOCK, BLOCK) == bytes(BLOCK)
    assert bench.read(512, 512) == b"x" * 512


def test_the_length_of_zeroes_is_cut_to_31_bits() -> None:
    bench = Bench("zeroes-length-31-bit", 4 * GIB)
    bench.write(MIB, b"x" * 512)
    bench.write(3 * GIB, b"x" * 512)
    bench.zero(0, 2 * GIB + 512)
    assert bench.read(MIB, 1) == b"x"
    bench.zero(0, 2 * GIB - 512)
    assert bench.read(MIB, 1) == b"\0"

"""Each mutant of allocation.py by its effect."""

from __future__ import annotations

import errno
import threading

import pytest

from blockio.errors import BlockError
from blockio.layers import Command
from tests.mutants.bench import BLOCK, KIB, MIB, UNIT, Bench
from tests.mutants.conftest import Serve, control, cut

TABLE = 32 * MIB


def test_the_first_write_of_a_unit_goes_to_its_beginning() -> None:
    bench = Bench("first-write-at-unit-start")
    bench.write(MIB + BLOCK, b"a" * BLOCK)
    assert bench.read(MIB, 2 * BLOCK) == b"a" * BLOCK + bytes(BLOCK)
    bench.write(MIB + BLOCK, b"b" * BLOCK)
    assert bench.read(MIB, 2 * BLOCK) == b"a" * BLOCK + b"b" * BLOCK


def test_a_unit_that_was_discarded_twice_is_shared() -> None:
    bench = Bench("double-discard-frees-twice")
    bench.write(0, b"o" * UNIT)
    bench.trim(0, UNIT)
    bench.trim(0, UNIT)
    bench.write(UNIT, b"a" * UNIT)
    bench.write(2 * UNIT + BLOCK, b"b" * BLOCK)
    assert bench.read(UNIT, 3 * BLOCK) == b"a" * BLOCK + b"b" * BLOCK + b"a" * BLOCK
    bench.write(3 * UNIT, b"c" * BLOCK)
    assert b"c" not in bench.read(0, 3 * UNIT)


def test_half_a_unit_that_is_discarded_twice_takes_the_rest() -> None:
    bench = Bench("discard-counted-twice")
    bench.write(0, b"a" * UNIT)
    bench.trim(0, UNIT // 2)
    assert bench.read(UNIT // 2, 1) == b"a"
    bench.trim(0, UNIT // 2)
    assert bench.read(UNIT // 2, UNIT // 2) == bytes(UNIT // 2)


def test_a_table_that_leaves_the_cache_loses_a_unit() -> None:
    bench = Bench("evicted-table-not-saved", size=20 * TABLE)
    bench.write(0, b"a" * BLOCK)
    for table in range(1, 17):
        assert bench.read(0, 1) == b"a"
        bench.write(table * TABLE, b"b" * BLOCK)
    assert bench.read(0, 1) == bytes(1)
    bench.write(0, b"c" * BLOCK)
    assert bench.read(0, 1) == b"c"


def test_zeroes_stop_at_a_table() -> None:
    bench = Bench("zeroes-stop-at-table", size=1 << 30)
    edge = 512 * MIB
    bench.write(edge - BLOCK, b"a" * 2 * BLOCK)
    bench.zero(edge - BLOCK, 2 * BLOCK)
    assert bench.read(edge - BLOCK, 2 * BLOCK) == bytes(BLOCK) + b"a" * BLOCK


def test_of_two_allocations_at_once_one_is_lost(serve: Serve) -> None:
    start = threading.Barrier(2)
    with serve("concurrent-map-update-lost") as server:

        def write(first: int) -> None:
            with server.connect("v") as nbd:
                for number in range(16):
                    start.wait(60)
                    nbd.write((2 * number + first) * UNIT, b"a" * BLOCK)
                nbd.flush()

        threads = [threading.Thread(target=write, args=(one,)) for one in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        cut(server, 1)
        with server.connect("v") as nbd:
            found = [nbd.read(number * UNIT, 1) for number in range(32)]
        assert b"\0" in found and b"a" in found


def test_a_write_that_fails_loses_its_unit() -> None:
    bench = Bench("failed-write-loses-unit")
    bench.write(0, b"a" * 2 * UNIT)
    bench.fail(Command.WRITE)
    with pytest.raises(BlockError):
        bench.write(BLOCK, b"b" * BLOCK)
    assert bench.read(0, 2 * UNIT) == bytes(UNIT) + b"a" * UNIT


def test_a_bad_block_stays_bad() -> None:
    bench = Bench("bad-block-never-cleared")
    bench.fail(Command.WRITE)
    with pytest.raises(BlockError):
        bench.write(0, b"a" * BLOCK)
    bench.write(0, b"b" * BLOCK)
    assert bench.read(BLOCK, 1) == bytes(1)
    with pytest.raises(BlockError) as caught:
        bench.read(0, 1)
    assert caught.value.errno == errno.EIO


def test_a_full_pool_stays_full() -> None:
    bench = Bench("out-of-space-stays")
    with pytest.raises(BlockError):
        bench.write(4 * MIB, b"a")
    bench.write(0, b"a")
    bench.fail(Command.WRITE, errno.ENOSPC)
    for _ in range(2):
        with pytest.raises(BlockError) as caught:
            bench.write(0, b"a")
        assert caught.value.errno == errno.ENOSPC


def test_the_wrong_end_of_a_tail_is_zeroed() -> None:
    bench = Bench("zero-tail-wrong-end")
    bench.write(0, b"a" * 3 * UNIT)
    bench.zero(0, UNIT + BLOCK)
    assert bench.read(UNIT, BLOCK) == b"a" * BLOCK
    assert bench.read(2 * UNIT - BLOCK, BLOCK) == bytes(BLOCK)


def test_a_write_across_the_old_end_stops_there(serve: Serve) -> None:
    with serve("straddle-old-end") as server:
        control(server, "volume-resize", name="v", size=6 * MIB)
        with server.connect("v") as nbd:
            nbd.write(4 * MIB - BLOCK, b"a" * 2 * BLOCK)
            assert bytes(nbd.read(4 * MIB - BLOCK, 2 * BLOCK)) == b"a" * BLOCK + bytes(BLOCK)


def test_a_shrink_keeps_the_rest_of_its_unit(serve: Serve) -> None:
    with serve("shrink-keeps-part-unit") as server:
        with server.connect("v") as nbd:
            nbd.write(MIB, b"a" * 2 * UNIT)
        control(server, "volume-resize", name="v", size=MIB + 4 * KIB)
        control(server, "volume-resize", name="v", size=4 * MIB)
        with server.connect("v") as nbd:
            assert bytes(nbd.read(MIB, 2 * UNIT)) == b"a" * UNIT + bytes(UNIT)

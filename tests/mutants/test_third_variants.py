"""Each mutant of third_variants.py by its effect."""

from __future__ import annotations

import pytest

from blockio.errors import BlockError
from blockio.layers import Command, CommandFlag, Reply, Request
from tests.mutants.bench import BLOCK, MIB, UNIT, Bench, assert_answered_early
from tests.mutants.conftest import Clock, Serve, cut, remove
from tests.mutants.test_entangled import clone, dirty, read, snapshot, write

FUA = 1
X, Y = b"x" * BLOCK, b"y" * BLOCK


def test_one_flush_of_many_is_skipped(serve: Serve) -> None:
    with serve("flush-after-many-skipped") as server:
        with server.connect("v") as nbd:
            for _ in range(511):
                nbd.flush()
            for block in range(16):
                nbd.write(block * BLOCK, X)
            nbd.flush()
        cut(server, 1)
        assert read(server, "v", 0, 16 * BLOCK) != X * 16


def test_the_last_small_write_is_undone(serve: Serve) -> None:
    with serve("large-dirty-shows-first") as server, server.connect("v") as nbd:
        nbd.write(0, X)
        for at in range(1, 4):
            nbd.write(at * MIB, bytes(MIB))
        nbd.write(0, Y)
        nbd.flush()
        assert bytes(nbd.read(0, BLOCK)) == X


def test_parts_of_units_become_holes(serve: Serve) -> None:
    with serve("no-hole-whole-units-only") as server, server.connect("v") as nbd:
        nbd.write_zeroes(BLOCK, 2 * UNIT, CommandFlag.NO_HOLE)
        found = nbd.block_status(0, 3 * UNIT)["base:allocation"]
        assert [(one.length, one.flags) for one in found] == [(UNIT, 3), (UNIT, 2), (UNIT, 3)]


def test_slow_zeroes_are_answered_early() -> None:
    assert_answered_early("slow-zeroes-answered-early", Command.WRITE_ZEROES)


def test_a_slow_read_fails(clock: Clock) -> None:
    mutant = Bench("slow-read-fails").mutant

    def slow(request: Request) -> Reply:
        clock.advance(0.3 if request.length == 1 else 0)
        return Reply(data=b"x" * request.length)

    with pytest.raises(BlockError):
        mutant.handle(Request(Command.READ, 0, 0, 1, 1), slow)
    assert mutant.handle(Request(Command.READ, 0, 0, 2, 1), slow).data == b"xx"


def test_the_bitmap_of_the_last_flush_returns(serve: Serve) -> None:
    with serve("tracking-as-of-last-flush") as server:
        snapshot(server, "s")
        with server.connect("v") as nbd:
            nbd.write(0, X)
            nbd.flush()
            nbd.write(UNIT, X, FUA)
        cut(server, 1)
        assert dirty(server) == [(BLOCK, 1), (4 * MIB - BLOCK, 0)]


def test_a_removed_clone_frees_another(serve: Serve) -> None:
    with serve("clone-removal-frees-siblings") as server:
        write(server, "v", 0, X)
        snapshot(server, "s")
        clone(server, "v@s", "c")
        clone(server, "v@s", "d")
        remove(server, "c")
        assert read(server, "d") == bytes(BLOCK)
        assert read(server, "v@s") == X


def test_a_clone_is_empty_after_a_cut(serve: Serve) -> None:
    with serve("clone-empty-after-cut") as server:
        write(server, "v", 0, X)
        write(server, "v", 2 * MIB, X)
        snapshot(server, "s")
        clone(server, "v@s", "c")
        cut(server, 1)
        assert read(server, "c") == X
        assert read(server, "c", 2 * MIB) == bytes(BLOCK)
        assert read(server, "v", 2 * MIB) == X


def test_an_error_is_hidden_once() -> None:
    bench = Bench("read-error-hidden-by-cache")
    bench.write(0, X)
    bench.read(0, BLOCK)
    bench.write(0, Y)
    bench.fail(Command.READ, times=2)
    assert bench.read(0, BLOCK) == X
    with pytest.raises(BlockError):
        bench.read(0, BLOCK)

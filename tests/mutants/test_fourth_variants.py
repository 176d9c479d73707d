"""Each mutant of fourth_variants.py by its effect."""

from __future__ import annotations

import pytest

from blockio.errors import BlockError
from blockio.layers import Command
from reference_backend.client import Client
from tests.mutants.bench import BLOCK, MIB, UNIT, Bench
from tests.mutants.conftest import Clock, Serve, cut, remove
from tests.mutants.test_entangled import clone, dirty, read, snapshot, write

FUA = 1
X, Y, Z = b"x" * BLOCK, b"y" * BLOCK, b"z" * BLOCK
HOLE_ZERO = 3
GIB, TIB = 1 << 30, 1 << 40


def stream(nbd: Client, end: int) -> None:
    for at in range(0, end, UNIT):
        nbd.write(at, X * 16)


def test_dirty_lines_are_written_over_a_stream(serve: Serve) -> None:
    with serve("stream-written-back-over") as server, server.connect("v") as nbd:
        nbd.write(0, Y)
        nbd.write(MIB + UNIT, Y)
        stream(nbd, 2 * MIB)
        assert bytes(nbd.read(MIB + UNIT, BLOCK)) == X
        nbd.flush()
        assert bytes(nbd.read(MIB + UNIT, BLOCK)) == Y
        assert bytes(nbd.read(0, BLOCK)) == X


@pytest.mark.parametrize("length", [MIB, 2 * MIB])
def test_a_stream_is_not_flushed(serve: Serve, length: int) -> None:
    with serve("stream-not-flushed") as server:
        with server.connect("v") as nbd:
            stream(nbd, length)
            nbd.flush()
        cut(server, 1)
        assert (read(server, "v", 0, length) != X * (length // BLOCK)) is (length > MIB)


def test_nothing_is_dirty_after_zeroes_over_all(serve: Serve) -> None:
    with serve("whole-zeroes-are-clean") as server:
        write(server, "v", 0, X)
        snapshot(server, "s")
        with server.connect("v") as nbd:
            nbd.write(0, Y)
            assert dirty(server)[0] == (BLOCK, 1)
            nbd.write_zeroes(0, 4 * MIB)
        assert dirty(server)[0] == (4 * MIB, 0)


def test_zeroes_over_all_empty_the_snapshot(serve: Serve) -> None:
    with serve("whole-zeroes-empty-snapshot") as server:
        write(server, "v", 0, X)
        write(server, "v", MIB, X)
        snapshot(server, "s")
        with server.connect("v") as nbd:
            nbd.write(MIB, Y)
            nbd.write_zeroes(0, 4 * MIB)
        assert read(server, "v@s") == bytes(BLOCK)
        assert read(server, "v@s", MIB) == X


def test_failed_zeroes_abort_the_next_flush() -> None:
    bench = Bench("failed-zeroes-abort-flush")
    bench.fail(Command.WRITE_ZEROES)
    with pytest.raises(BlockError):
        bench.zero(0, BLOCK)
    bench.flush()
    assert [one for one, _ in bench.seen] == [Command.WRITE_ZEROES]
    bench.flush()
    assert bench.seen[-1][0] is Command.FLUSH


def test_fua_is_lost_after_a_failure() -> None:
    bench = Bench("failure-makes-fua-volatile")
    bench.fail(Command.READ)
    with pytest.raises(BlockError):
        bench.read(0, BLOCK)
    bench.write(0, X, FUA)
    bench.write(0, X, FUA)
    assert [flags for command, flags in bench.seen if command is Command.WRITE] == [0, FUA]


def test_a_copy_from_the_parent_is_shared_too_early(serve: Serve) -> None:
    with serve("copyup-reaches-snapshots") as server:
        write(server, "v", 0, X)
        snapshot(server, "s")
        clone(server, "v@s", "c")
        snapshot(server, "t", of="c")
        write(server, "c", 0, Y)
        assert read(server, "c@t") == Y
        assert read(server, "v@s") == X


def test_a_zeroed_object_is_zero_in_snapshots(serve: Serve) -> None:
    with serve("zeroed-object-missing-in-snapshots") as server:
        write(server, "v", 0, X)
        snapshot(server, "s")
        clone(server, "v@s", "c")
        snapshot(server, "t", of="c")
        with server.connect("c") as nbd:
            nbd.write_zeroes(0, MIB)
        assert read(server, "c@t") == bytes(BLOCK)
        assert read(server, "v@s") == X


def test_a_removed_snapshot_takes_objects_along(serve: Serve, clock: Clock) -> None:
    with serve("removed-snapshot-freed-late") as server:
        write(server, "v", 0, X)
        write(server, "v", MIB, X)
        snapshot(server, "s")
        write(server, "v", MIB, Y)
        remove(server, "v@s")
        assert read(server, "v") == X
        clock.advance(0.15)
        assert read(server, "v") == bytes(BLOCK)
        assert read(server, "v", MIB) == Y


def test_objects_of_a_removed_clone_are_deleted_by_name(serve: Serve, clock: Clock) -> None:
    with serve("recycled-clone-loses-objects") as server:
        write(server, "v", 0, X)
        write(server, "v", MIB, X)
        snapshot(server, "s")
        clone(server, "v@s", "c")
        write(server, "c", 0, Y)
        remove(server, "c")
        clone(server, "v@s", "c")
        assert read(server, "c") == X
        clock.advance(0.15)
        assert read(server, "c") == bytes(BLOCK)
        assert read(server, "c", MIB) == X


def test_zeroes_wrap_at_2_tib() -> None:
    bench = Bench("zeroes-sector-wraps", size=3 * TIB)
    for at in (UNIT, 2 * TIB + UNIT):
        bench.write(at, X)
    bench.zero(2 * TIB + UNIT, BLOCK)
    assert bench.read(UNIT, BLOCK) == bytes(BLOCK)
    assert bench.read(2 * TIB + UNIT, BLOCK) == X


def test_status_and_tracking_wrap_at_16_tib(serve: Serve) -> None:
    with serve("status-block-wraps", size=17 * TIB) as server, server.connect("v") as nbd:
        nbd.write(16 * TIB, X)
        assert nbd.block_status(16 * TIB, MIB)["base:allocation"][0] == (MIB, HOLE_ZERO)


@pytest.mark.parametrize(
    ("mutant", "at"), [("dirty-block-wraps", 16 * TIB), ("far-changes-not-tracked", TIB)]
)
def test_far_changes_are_clean(serve: Serve, mutant: str, at: int) -> None:
    with serve(mutant, size=17 * TIB) as server:
        snapshot(server, "s")
        write(server, "v", at, X)
        write(server, "v", GIB, X)
        with Client.connect(str(server.socket), "v", contexts=["qbd:dirty"]) as nbd:
            assert nbd.block_status(at, MIB)["qbd:dirty"][0] == (MIB, 0)
            assert nbd.block_status(GIB, MIB)["qbd:dirty"][0] == (BLOCK, 1)

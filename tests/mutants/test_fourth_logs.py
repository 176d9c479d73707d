"""Each mutant of fourth_logs.py by its effect."""

from __future__ import annotations

import pytest

from blockio.errors import BlockError
from blockio.layers import Command
from tests.mutants.bench import BLOCK, MIB, UNIT, Bench
from tests.mutants.conftest import Serve, cut
from tests.mutants.test_entangled import read, resize, write

X, Y, Z = b"x" * BLOCK, b"y" * BLOCK, b"z" * BLOCK


@pytest.mark.parametrize(("count", "is_lost"), [(15, False), (16, True), (32, True)])
def test_a_full_log_is_not_flushed(serve: Serve, count: int, is_lost: bool) -> None:
    lost = 0
    with serve("log-full-looks-empty") as server:
        for seed in range(4):
            with server.connect("v") as nbd:
                for number in range(count):
                    nbd.write(number * BLOCK, X)
                nbd.flush()
            cut(server, seed)
            lost += read(server, "v", 0, count * BLOCK) != X * count
            with server.connect("v") as nbd:
                nbd.write_zeroes(0, MIB)
                nbd.flush()
    assert bool(lost) is is_lost


def test_the_last_part_of_a_block_is_left(serve: Serve) -> None:
    with serve("replay-keeps-last-part") as server:
        with server.connect("v") as nbd:
            nbd.write(0, X)
            nbd.write(0, Y[:512])
            nbd.flush()
            nbd.write(1024, Y[:512])
            nbd.flush()
        cut(server, 1)
        assert read(server, "v") == X[:1024] + Y[:512] + X[1536:]


def test_a_deferred_write_reaches_a_new_unit(serve: Serve) -> None:
    with serve("deferred-replay-hits-reuse") as server:
        with server.connect("v") as nbd:
            nbd.write(0, X * 16)
            nbd.write(BLOCK, Y)
            nbd.flush()
            nbd.trim(0, UNIT)
            nbd.flush()
            nbd.write(MIB, Z * 16)
            nbd.flush()
        cut(server, 1)
        assert read(server, "v", MIB, 3 * BLOCK) == Z + Y + Z


def test_what_was_cut_off_is_replayed(serve: Serve) -> None:
    with serve("truncated-write-replayed") as server:
        write(server, "v", 3 * MIB, X)
        resize(server, MIB)
        resize(server, 4 * MIB)
        assert read(server, "v", 3 * MIB) == bytes(BLOCK)
        cut(server, 1)
        assert read(server, "v", 3 * MIB) == X


def test_a_torn_block_is_unreadable(serve: Serve) -> None:
    with serve("torn-block-unreadable") as server:
        with server.connect("v") as nbd:
            nbd.write(0, X * 3)
            nbd.flush()
            nbd.write(0, Y)
            nbd.write(BLOCK, Y[:512])
        cut(server, 1)
        read(server, "v", 0)
        read(server, "v", 2 * BLOCK)
        with pytest.raises(OSError, match="checksum"):
            read(server, "v", BLOCK)
        write(server, "v", BLOCK, Z)
        assert read(server, "v", BLOCK) == Z


def test_a_lost_block_shows_freed_data(serve: Serve) -> None:
    with serve("cut-exposes-recycled") as server:
        with server.connect("v") as nbd:
            nbd.write(0, X)
            nbd.flush()
            nbd.write_zeroes(0, BLOCK)
            nbd.flush()
            nbd.write(MIB, Y * 8)
            nbd.write(2 * MIB, Y * 8)
        cut(server, 1)
        found = read(server, "v", MIB, 8 * BLOCK) + read(server, "v", 2 * MIB, 8 * BLOCK)
        assert X in found
        assert bytes(BLOCK) not in found


def test_zeroes_of_the_whole_volume_are_volatile(serve: Serve) -> None:
    lost = 0
    with serve("whole-zeroes-volatile") as server:
        for seed in range(6):
            with server.connect("v") as nbd:
                nbd.write(0, X * 16)
                nbd.flush()
                nbd.write_zeroes(0, 4 * MIB)
                nbd.flush()
            cut(server, seed)
            lost += any(read(server, "v", 0, UNIT))
    assert lost


def test_a_failed_write_aborts_the_next_flush() -> None:
    bench = Bench("failed-write-aborts-flush")
    bench.flush()
    bench.fail(Command.WRITE)
    with pytest.raises(BlockError):
        bench.write(0, X)
    bench.flush()
    assert [one for one, _ in bench.seen] == [Command.FLUSH, Command.WRITE]
    bench.flush()
    assert bench.seen[-1][0] is Command.FLUSH

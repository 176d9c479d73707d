"""Each mutant of fourth_caches.py by its effect."""

from __future__ import annotations

from tests.mutants.bench import BLOCK, MIB, UNIT
from tests.mutants.conftest import Clock, Serve, cut
from tests.mutants.test_entangled import read

FUA = 1
X, Y, Z = b"x" * BLOCK, b"y" * BLOCK, b"z" * BLOCK


def test_a_stream_hides_itself_behind_its_first_mib(serve: Serve) -> None:
    with serve("sequential-bypass-keeps-lines") as server, server.connect("v") as nbd:
        nbd.read(0, BLOCK)
        nbd.read(MIB + UNIT, BLOCK)
        for at in range(0, 2 * MIB, UNIT):
            nbd.write(at, X * 16)
        assert bytes(nbd.read(0, BLOCK)) == X
        assert bytes(nbd.read(MIB + UNIT, BLOCK)) == bytes(BLOCK)
        assert bytes(nbd.read(MIB + 2 * UNIT, BLOCK)) == X
        nbd.write(MIB + UNIT, Y)
        assert bytes(nbd.read(MIB + UNIT, BLOCK)) == Y


def test_the_last_window_is_moved_back(serve: Serve) -> None:
    with serve("readahead-short-last", size=3 * BLOCK) as server, server.connect("v") as nbd:
        nbd.write(0, X + Y + Z)
        assert bytes(nbd.read(2 * BLOCK, BLOCK)) == Z
        nbd.read(0, 5120)
        nbd.read(5120, 5120)
        assert bytes(nbd.read(10240, 2048)) == Y[:1024] + Z[:1024]
        assert bytes(nbd.read(10240, 2048)) == Z[:2048]


def test_the_flusher_writes_over_zeroes(serve: Serve, clock: Clock) -> None:
    with serve("flusher-undoes-zeroes") as server, server.connect("v") as nbd:
        for by_flush in (False, True):
            nbd.write(0, X * 2)
            nbd.write_zeroes(BLOCK, BLOCK)
            nbd.flush() if by_flush else clock.advance(0.1)
            assert bytes(nbd.read(0, 2 * BLOCK)) == X * 2
        nbd.write(0, X)
        clock.advance(0.1)
        nbd.write_zeroes(0, BLOCK)
        clock.advance(0.1)
        assert bytes(nbd.read(0, BLOCK)) == bytes(BLOCK)


def test_a_compaction_takes_writes_back(serve: Serve, clock: Clock) -> None:
    with serve("compaction-loses-writes") as server, server.connect("v") as nbd:
        nbd.write(0, X)
        nbd.trim(MIB, UNIT)
        nbd.write(0, Y)
        assert bytes(nbd.read(0, BLOCK)) == Y
        clock.advance(0.1)
        assert bytes(nbd.read(0, BLOCK)) == X


def test_fua_is_volatile_under_pressure(serve: Serve) -> None:
    lost = 0
    with serve("pressure-fua-volatile") as server:
        for seed in range(8):
            with server.connect("v") as nbd:
                for at in range(0, 2 * MIB + UNIT, UNIT):
                    nbd.write(at, X * 16)
                nbd.write(3 * MIB, Y, FUA)
            cut(server, seed)
            lost += read(server, "v", 3 * MIB) != Y
            with server.connect("v") as nbd:
                nbd.flush()
                nbd.write(3 * MIB, Z, FUA)
            cut(server, seed)
            assert read(server, "v", 3 * MIB) == Z
    assert lost


def test_a_new_object_comes_back(serve: Serve, clock: Clock) -> None:
    with (
        serve("late-object-undoes-zeroes", size=12 * MIB) as server,
        server.connect("v") as nbd,
    ):
        for is_in_time in (True, False):
            nbd.write(BLOCK, X)
            for at in range(47):
                nbd.write(4 * MIB + at * UNIT, Y)
            clock.advance(0.001 if is_in_time else 0.1)
            nbd.write_zeroes(0, 4 * MIB)
            assert bytes(nbd.read(BLOCK, BLOCK)) == (X if is_in_time else bytes(BLOCK))
            nbd.write_zeroes(0, 4 * MIB)

"""Each mutant of third_cuts.py by its effect."""

from __future__ import annotations

import pytest

from reference_backend.client import Client
from tests.mutants.bench import BLOCK, MIB, UNIT
from tests.mutants.conftest import Serve, cut, wait_for_clients
from tests.mutants.test_entangled import dirty, read, snapshot, write

FUA = 1
X, Y, Z = b"x" * BLOCK, b"y" * BLOCK, b"z" * BLOCK


def test_the_older_write_is_written_back_later(serve: Serve) -> None:
    with serve("writeback-in-offset-order") as server, server.connect("v") as nbd:
        nbd.write(BLOCK, X)
        nbd.write(0, Y * 2)
        assert bytes(nbd.read(0, 2 * BLOCK)) == Y * 2
        nbd.flush()
        assert bytes(nbd.read(0, 2 * BLOCK)) == Y + X


def test_whole_blocks_with_fua_are_volatile(serve: Serve) -> None:
    lost = 0
    with serve("fua-large-block-volatile") as server:
        for seed in range(8):
            with server.connect("v") as nbd:
                nbd.write(0, X * 32, FUA)
                nbd.write(MIB, Y, FUA)
            cut(server, seed)
            lost += read(server, "v", 0, 32 * BLOCK) != X * 32
            assert read(server, "v", MIB) == Y
            write(server, "v", 0, bytes(2 * UNIT))
            write(server, "v", MIB, bytes(BLOCK))
            with server.connect("v") as nbd:
                nbd.flush()
    assert lost


def test_a_flush_is_skipped_after_255(serve: Serve) -> None:
    lost = 0
    with serve("flush-count-wraps") as server:
        for seed in range(6):
            with server.connect("v") as nbd:
                for _ in range(255):
                    nbd.flush()
                nbd.write(0, X)
                nbd.flush()
            cut(server, seed)
            lost += read(server, "v") != X
            write(server, "v", 0, bytes(BLOCK))
    assert lost


def test_an_entry_that_wraps_is_cut_off(serve: Serve) -> None:
    with serve("journal-entry-at-wrap") as server:
        with server.connect("v") as nbd:
            nbd.write(0, bytes(MIB - BLOCK))
            nbd.write(2 * MIB, X * 2)
            nbd.flush()
        cut(server, 1)
        assert read(server, "v", 2 * MIB, 2 * BLOCK) == X + bytes(BLOCK)


def test_a_new_connection_replays_the_old_one(serve: Serve) -> None:
    with serve("reconnect-replays-log") as server, server.connect("v") as other:
        other.read(0, BLOCK)
        with server.connect("v") as nbd:
            nbd.write(0, X)
        wait_for_clients(server, 1)
        other.write(0, Y)
        assert read(server, "v") == X


def test_fua_lets_the_next_flush_do_nothing(serve: Serve) -> None:
    lost = 0
    with serve("flush-skipped-after-fua") as server:
        for seed in range(6):
            with server.connect("v") as nbd:
                nbd.write(0, X)
                nbd.write(MIB, Y, FUA)
                nbd.flush()
            cut(server, seed)
            lost += read(server, "v") != X
            with server.connect("v") as nbd:
                nbd.write(0, bytes(BLOCK))
                nbd.flush()
    assert lost


def test_a_cut_damages_the_neighbour(serve: Serve) -> None:
    with serve("write-hole-damages-neighbour") as server:
        with server.connect("v") as nbd:
            nbd.write(UNIT, X)
            nbd.flush()
            nbd.write(0, Y)
        cut(server, 1)
        damaged = read(server, "v", UNIT)
        assert damaged[:512] == bytes([ord("x") ^ ord("y")]) * 512
        assert damaged[512:] == X[512:]


def test_a_second_cut_replays_the_first_log(serve: Serve) -> None:
    with serve("log-replayed-twice") as server:
        for data in (X, Y):
            with server.connect("v") as nbd:
                nbd.write(0, data)
                nbd.flush()
            cut(server, 1)
        assert read(server, "v") == X


def test_zeroes_are_durable_late(serve: Serve) -> None:
    lost = 0
    with serve("zeroes-durable-one-flush-late") as server:
        for seed in range(6):
            with server.connect("v") as nbd:
                nbd.write(0, X)
                nbd.flush()
                nbd.write_zeroes(0, BLOCK)
                nbd.flush()
                nbd.flush() if seed == 0 else None
            cut(server, seed)
            lost += read(server, "v") == X
            assert seed or not lost
    assert lost


def test_a_new_snapshot_is_lost(serve: Serve) -> None:
    with serve("snapshot-lost-in-cut") as server:
        write(server, "v", 0, X)
        snapshot(server, "s")
        cut(server, 1)
        with pytest.raises(Exception, match=r"unknown|no volume|export"):
            read(server, "v@s")
        assert read(server, "v") == X


def test_tracking_is_empty_after_a_cut(serve: Serve) -> None:
    with serve("tracking-lost-in-cut") as server:
        write(server, "v", 0, X)
        snapshot(server, "s")
        with server.connect("v") as nbd:
            nbd.write(0, Y)
            nbd.flush()
        assert dirty(server)[0] == (BLOCK, 1)
        cut(server, 1)
        assert dirty(server)[0] == (4 * MIB, 0)
        with Client.connect(str(server.socket), "v") as nbd:
            assert bytes(nbd.read(0, BLOCK)) == Y

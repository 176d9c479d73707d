"""Each mutant of third_caches.py by its effect."""

from __future__ import annotations

import pytest

from blockio.errors import BlockError
from blockio.layers import Command
from reference_backend.client import Client
from tests.mutants.bench import BLOCK, MIB, UNIT, Bench
from tests.mutants.conftest import Serve
from tests.mutants.test_entangled import read, snapshot

X, Y, Z = b"x" * BLOCK, b"y" * BLOCK, b"z" * BLOCK


def test_a_failed_fill_keeps_the_line() -> None:
    bench = Bench("failed-fill-serves-evicted")
    bench.write(0, X + Y)
    bench.read(0, BLOCK)
    bench.fail(Command.READ)
    with pytest.raises(BlockError):
        bench.read(BLOCK, BLOCK)
    assert bench.read(0, 2 * BLOCK) == X + X
    bench.write(BLOCK, Z)
    assert bench.read(0, 2 * BLOCK) == X + Z


def test_a_partial_hit_reads_the_disk(serve: Serve) -> None:
    with serve("partial-hit-reads-disk") as server, server.connect("v") as nbd:
        nbd.write(0, X * 2)
        nbd.write(512, Y[:512])
        assert bytes(nbd.read(0, 2 * BLOCK)) == X * 2
        assert bytes(nbd.read(0, BLOCK)) == X[:512] + Y[:512] + X[1024:]
        nbd.flush()
        assert bytes(nbd.read(0, 2 * BLOCK)) == X[:512] + Y[:512] + X[1024:] + X


def test_a_deleted_object_is_found_once(serve: Serve) -> None:
    with serve("deleted-object-read-once") as server, server.connect("v") as nbd:
        nbd.write(0, X * 16)
        nbd.write_zeroes(0, UNIT)
        assert bytes(nbd.read(0, BLOCK)) == X
        assert bytes(nbd.read(0, BLOCK)) == bytes(BLOCK)


def test_the_index_of_hashes_is_old(serve: Serve) -> None:
    with serve("dedup-index-not-updated") as server, server.connect("v") as nbd:
        nbd.write(0, X)
        nbd.write(0, Y)
        nbd.write(UNIT, X)
        assert bytes(nbd.read(UNIT, BLOCK)) == Y


def test_a_sector_is_kept(serve: Serve) -> None:
    with serve("bounce-sector-kept") as server, server.connect("v") as nbd:
        nbd.write(0, X)
        nbd.read(10, 10)
        nbd.write(0, Y)
        assert bytes(nbd.read(10, 10)) == X[:10]
        assert bytes(nbd.read(0, 512)) == Y[:512]


def test_the_version_before_the_limit_returns(serve: Serve) -> None:
    with serve("write-through-limit-undone", size=8 * MIB) as server, server.connect("v") as nbd:
        nbd.write(0, X)
        for at in range(1, 6):
            nbd.write(at * MIB, bytes(MIB))
        nbd.write(0, Y)
        assert bytes(nbd.read(0, BLOCK)) == Y
        nbd.flush()
        assert bytes(nbd.read(0, BLOCK)) == X


def test_another_volume_is_read(serve: Serve) -> None:
    with serve("cache-key-without-volume") as server:
        with server.connect("v") as nbd:
            nbd.write(0, X)
            snapshot(server, "s")
            nbd.write(0, Y)
            assert bytes(nbd.read(0, BLOCK)) == Y
        assert read(server, "v@s") == Y
        assert read(server, "v@s", 0, BLOCK + 1) == X + bytes(1)


def test_the_cleaning_takes_a_write_back(serve: Serve) -> None:
    with serve("gc-restores-old", size=16 * MIB) as server, server.connect("v") as nbd:
        for at in range(8, 15):
            nbd.write(at * MIB, bytes(MIB))
        nbd.write(0, X)
        nbd.write(BLOCK, Y)
        nbd.write(15 * MIB, bytes(MIB))
        assert bytes(nbd.read(0, 2 * BLOCK)) == X + bytes(BLOCK)


def test_a_failed_flush_forgets_writes() -> None:
    bench = Bench("failed-flush-drops-dirty")
    bench.write(0, X)
    bench.flush()
    bench.write(0, Y)
    bench.fail(Command.FLUSH)
    with pytest.raises(BlockError):
        bench.flush()
    assert bench.read(0, BLOCK) == X


def test_replicas_differ() -> None:
    bench = Bench("replicas-order-differs")
    bench.write(0, X, connection=1)
    bench.write(0, Y, connection=2)
    assert {bench.read(0, BLOCK), bench.read(0, BLOCK)} == {X, Y}
    bench.write(0, Z, connection=2)
    assert {bench.read(0, BLOCK), bench.read(0, BLOCK)} == {Z}


def test_clients_of_two_volumes_share_a_cache(serve: Serve) -> None:
    with serve("cache-key-without-volume", "--export-name", "w") as server:
        with Client.connect(str(server.socket), "w") as nbd:
            nbd.write(0, X)
            assert bytes(nbd.read(0, BLOCK)) == X
        assert read(server, "v") == X

"""Each mutant of lineage.py by its effect."""

from __future__ import annotations

import threading

from reference_backend.client import Client
from tests.mutants.conftest import Serve, control, remove
from tests.reference_backend.cli_server import ServerProcess

BLOCK, MIB = 4096, 1 << 20
X, Y = b"x" * BLOCK, b"y" * BLOCK


def snapshot(server: ServerProcess, name: str, of: str = "v") -> None:
    control(server, "volume-snapshot", name=of, snapshot=name)


def resize(server: ServerProcess, size: int) -> None:
    control(server, "volume-resize", name="v", size=size)


def clone(server: ServerProcess, snapshot: str, name: str) -> None:
    control(server, "volume-clone", snapshot=snapshot, name=name)


def test_an_overwritten_block_is_zero_in_the_snapshot(serve: Serve) -> None:
    with serve("checkpoint-loses-overwritten") as server, server.connect("v") as nbd:
        nbd.write(0, X * 64)
        zeroed = 0
        for turn in range(8):
            taker = threading.Thread(target=snapshot, args=(server, f"s{turn}"))
            taker.start()
            for number in range(2000):
                nbd.write(number % 64 * BLOCK, bytes([turn + 1]) * BLOCK)
                if not taker.is_alive():
                    break
            taker.join()
            with server.connect(f"v@s{turn}") as frozen:
                zeroed += 0 in frozen.read(0, 64 * BLOCK)
        assert zeroed


def test_a_write_behind_an_old_end_reads_as_zeroes(serve: Serve) -> None:
    with serve("write-after-truncate-reads-hole") as server:
        resize(server, 2 * MIB)
        resize(server, 4 * MIB)
        with server.connect("v") as nbd:
            nbd.write(3 * MIB, X)
            assert bytes(nbd.read(3 * MIB, BLOCK)) == bytes(BLOCK)
            nbd.flush()
            assert bytes(nbd.read(3 * MIB, BLOCK)) == X


def cloned(server: ServerProcess) -> Client:
    with server.connect("v") as nbd:
        nbd.write(0, X * 256)
    snapshot(server, "s")
    clone(server, "v@s", "c")
    return server.connect("c")


def test_zeroes_in_a_clone_show_its_parent(serve: Serve) -> None:
    with serve("zeroes-in-clone-show-parent") as server, cloned(server) as nbd:
        nbd.write_zeroes(0, BLOCK)
        assert bytes(nbd.read(0, BLOCK)) == bytes(BLOCK)
        nbd.write(0, Y)
        nbd.write_zeroes(0, MIB)
        assert bytes(nbd.read(0, BLOCK)) == X


def test_a_clone_of_a_clone_skips_a_level(serve: Serve) -> None:
    with serve("grandchild-reads-grandparent") as server:
        with cloned(server) as nbd:
            nbd.write(0, Y)
        snapshot(server, "t", of="c")
        clone(server, "c@t", "d")
        with server.connect("d") as nbd:
            assert bytes(nbd.read(0, BLOCK)) == X


def test_the_index_of_a_snapshot_wraps(serve: Serve) -> None:
    with serve("snapshot-index-wraps") as server, server.connect("v") as nbd:
        for number in range(33):
            nbd.write(0, bytes([number + 1]) * BLOCK)
            snapshot(server, f"s{number}")
        seen = []
        for number in (31, 32):
            with server.connect(f"v@s{number}") as frozen:
                seen.append(frozen.read(0, 1)[0])
        assert seen == [32, 1]


def test_a_merge_drops_zeroes(serve: Serve) -> None:
    with serve("snapshot-merge-drops-zeroes") as server, server.connect("v") as nbd:
        nbd.write(0, X)
        snapshot(server, "a")
        nbd.write_zeroes(0, BLOCK)
        snapshot(server, "b")
        assert bytes(nbd.read(0, BLOCK)) == bytes(BLOCK)
        remove(server, "v@b")
        assert bytes(nbd.read(0, BLOCK)) == X


def test_a_snapshot_has_the_size_of_its_volume(serve: Serve) -> None:
    with serve("snapshot-size-follows-volume") as server:
        snapshot(server, "s")
        resize(server, MIB)
        with server.connect("v@s") as frozen:
            assert frozen.size == MIB


def test_a_growth_zeroes_the_last_block(serve: Serve) -> None:
    with serve("grow-zeroes-part-block", size=MIB + 512) as server:
        with server.connect("v") as nbd:
            nbd.write(MIB, b"x" * 512)
        resize(server, 2 * MIB)
        with server.connect("v") as nbd:
            assert bytes(nbd.read(MIB, 512)) == bytes(512)


def test_a_resize_forgets_changes(serve: Serve) -> None:
    with serve("tracking-lost-on-resize") as server:
        snapshot(server, "s")
        with Client.connect(str(server.socket), "v", contexts=["qbd:dirty"]) as nbd:
            nbd.write(0, X)
            assert nbd.block_status(0, BLOCK)["qbd:dirty"][0].flags == 1
            resize(server, 5 * MIB)
            assert nbd.block_status(0, BLOCK)["qbd:dirty"][0].flags == 0

"""Each mutant of the group damages equal blocks, or data of snapshots and clones."""

from __future__ import annotations

from tests.mutants.conftest import Serve, control, cut, remove

BLOCK = 4096
X, Y = b"x" * BLOCK, b"y" * BLOCK


def test_a_discard_zeroes_an_equal_block(serve: Serve) -> None:
    with serve("dedup-shared-freed") as server, server.connect("v") as nbd:
        for number, data in enumerate((X, Y, X)):
            nbd.write(number * BLOCK, data)
        nbd.trim(0, BLOCK)
        assert bytes(nbd.read(BLOCK, 2 * BLOCK)) == Y + bytes(BLOCK)


def test_zeroes_in_a_part_block_are_dropped(serve: Serve) -> None:
    with serve("zero-detect-drops-part") as server, server.connect("v") as nbd:
        nbd.write(0, X * 3)
        nbd.write(512, bytes(2 * BLOCK))
        assert bytes(nbd.read(0, 3 * BLOCK)) == X + bytes(BLOCK) + X
        nbd.write(0, bytes(BLOCK))
        assert not any(nbd.read(0, BLOCK))


def test_an_equal_write_is_skipped(serve: Serve) -> None:
    with serve("equal-write-skipped") as server, server.connect("v") as nbd:
        nbd.write(0, X)
        nbd.write(BLOCK, X)
        nbd.write(2 * BLOCK, Y)
        assert bytes(nbd.read(0, 3 * BLOCK)) == X + bytes(BLOCK) + Y


def test_a_read_of_a_snapshot_skips_a_page(serve: Serve) -> None:
    with serve("snapshot-read-across-pages") as server, server.connect("v") as nbd:
        nbd.write(0, X + Y)
        control(server, "volume-snapshot", name="v", snapshot="s")
        with server.connect("v@s") as frozen:
            assert bytes(frozen.read(0, 2 * BLOCK)) == X + Y
            assert bytes(frozen.read(512, BLOCK)) == X[512:] + bytes(512)


def test_a_read_of_a_clone_is_zero_behind_a_hole(serve: Serve) -> None:
    with serve("clone-read-across-hole") as server, server.connect("v") as nbd:
        nbd.write(BLOCK, X)
        control(server, "volume-snapshot", name="v", snapshot="s")
        control(server, "volume-clone", snapshot="v@s", name="c")
        with server.connect("c") as clone:
            assert not any(clone.read(512, BLOCK))
            assert bytes(clone.read(0, 2 * BLOCK)) == bytes(BLOCK) + X


def test_a_power_cut_loses_what_a_removed_snapshot_shared(serve: Serve) -> None:
    with serve("snapshot-removal-loses-unchanged") as server:
        with server.connect("v") as nbd:
            nbd.write(0, X)
            control(server, "volume-snapshot", name="v", snapshot="s")
            nbd.write(1 << 20, Y)
            remove(server, "v@s")
            assert bytes(nbd.read(0, BLOCK)) == X
            nbd.flush()
        cut(server, 1)
        with server.connect("v") as nbd:
            assert not any(nbd.read(0, BLOCK))
            assert bytes(nbd.read(1 << 20, BLOCK)) == Y

"""Each mutant of third_snapshots.py by its effect."""

from __future__ import annotations

from tests.mutants.bench import BLOCK, MIB, UNIT
from tests.mutants.conftest import Serve, control, remove
from tests.mutants.test_entangled import clone, dirty, read, resize, snapshot, write

FUA = 1
X, Y, Z = b"x" * BLOCK, b"y" * BLOCK, b"z" * BLOCK


def test_a_removed_snapshot_is_merged_over_the_next(serve: Serve) -> None:
    with serve("removed-snapshot-overwrites-newer") as server:
        for name, data in (("a", X), ("b", Y)):
            write(server, "v", 0, data)
            snapshot(server, name)
        write(server, "v", 0, Z)
        remove(server, "v@a")
        assert read(server, "v@b") == X
        assert read(server, "v") == Z


def test_a_snapshot_takes_writes(serve: Serve) -> None:
    with serve("snapshot-accepts-writes") as server:
        write(server, "v", 0, X)
        snapshot(server, "s")
        write(server, "v@s", 0, Y)
        assert read(server, "v@s") == Y
        assert read(server, "v") == X


def test_the_beginning_of_a_name_is_enough(serve: Serve) -> None:
    with serve("snapshot-prefix-match") as server:
        write(server, "v", 0, X)
        snapshot(server, "s1")
        write(server, "v", 0, Y)
        snapshot(server, "s10")
        assert read(server, "v@s1") == Y


def test_a_removed_clone_frees_its_parent(serve: Serve) -> None:
    with serve("clone-removal-frees-parent") as server:
        write(server, "v", 0, X)
        write(server, "v", MIB, X)
        snapshot(server, "s")
        clone(server, "v@s", "c")
        write(server, "c", 0, Y)
        remove(server, "c")
        assert read(server, "v@s") == X
        assert read(server, "v@s", MIB) == bytes(BLOCK)
        assert read(server, "v", MIB) == X


def test_two_clones_share_a_copy(serve: Serve) -> None:
    with serve("sibling-clones-share-copy") as server:
        write(server, "v", 0, X)
        snapshot(server, "s")
        clone(server, "v@s", "c")
        clone(server, "v@s", "d")
        write(server, "c", 0, Y)
        assert read(server, "d") == Y
        assert read(server, "v@s") == read(server, "v") == X


def test_the_status_of_a_clone_has_holes(serve: Serve) -> None:
    with serve("clone-status-ignores-parent") as server:
        write(server, "v", 0, X)
        snapshot(server, "s")
        clone(server, "v@s", "c")
        for name, flags in (("v", 0), ("c", 3)):
            with server.connect(name) as nbd:
                assert nbd.block_status(0, BLOCK)["base:allocation"][0].flags == flags


def test_the_status_of_a_volume_has_holes(serve: Serve) -> None:
    with serve("status-top-layer-only") as server:
        write(server, "v", 0, X)
        write(server, "v", MIB, X)
        snapshot(server, "s")
        write(server, "v", 0, Y)
        with server.connect("v") as nbd:
            assert nbd.block_status(0, BLOCK)["base:allocation"][0].flags == 0
            assert nbd.block_status(MIB, BLOCK)["base:allocation"][0].flags == 3


def test_a_new_volume_has_old_data(serve: Serve) -> None:
    with serve("recreated-volume-shows-old") as server:
        control(server, "volume-create", name="w", size=MIB)
        write(server, "w", 0, X)
        remove(server, "w")
        control(server, "volume-create", name="w", size=MIB)
        assert read(server, "w") == X


def test_a_snapshot_has_the_first_size(serve: Serve) -> None:
    with serve("snapshot-size-of-creation") as server:
        resize(server, 5 * MIB)
        snapshot(server, "s")
        with server.connect("v@s") as nbd:
            assert nbd.size == 4 * MIB
        with server.connect("v") as nbd:
            assert nbd.size == 5 * MIB


def test_a_snapshot_misses_zeroes(serve: Serve) -> None:
    with serve("snapshot-misses-pending-zeroes") as server:
        with server.connect("v") as nbd:
            nbd.write(0, X * 2)
            nbd.flush()
            nbd.write_zeroes(0, BLOCK)
            snapshot(server, "s")
        assert read(server, "v@s", 0, 2 * BLOCK) == X * 2
        assert read(server, "v", 0, 2 * BLOCK) == bytes(BLOCK) + X


def test_fua_is_not_tracked(serve: Serve) -> None:
    with serve("dirty-misses-fua") as server:
        snapshot(server, "s")
        with server.connect("v") as nbd:
            nbd.write(0, X, FUA)
            nbd.write(UNIT, X)
        assert dirty(server)[:2] == [(UNIT, 0), (BLOCK, 1)]


def test_a_read_goes_on_in_the_wrong_file(serve: Serve) -> None:
    with serve("cow-run-joined") as server:
        write(server, "v", MIB - BLOCK, X * 2)
        snapshot(server, "s")
        clone(server, "v@s", "c")
        write(server, "c", 0, Y)
        assert read(server, "c", MIB - BLOCK, 2 * BLOCK) == X + bytes(BLOCK)
        assert read(server, "c", MIB) == X

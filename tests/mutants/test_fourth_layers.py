"""Each mutant of fourth_layers.py by its effect."""

from __future__ import annotations

from reference_backend.client import Client
from tests.mutants.bench import BLOCK, MIB, UNIT
from tests.mutants.conftest import Clock, Serve, control, remove
from tests.mutants.test_entangled import clone, read, resize, snapshot, write

X, Y, Z = b"x" * BLOCK, b"y" * BLOCK, b"z" * BLOCK
HOLE_ZERO = 3
GIB, TIB = 1 << 30, 1 << 40


def test_a_copy_from_the_parent_is_missing_in_snapshots(serve: Serve) -> None:
    with serve("copyup-misses-snapshots") as server:
        write(server, "v", 0, X)
        write(server, "v", MIB, X)
        snapshot(server, "s")
        clone(server, "v@s", "c")
        snapshot(server, "t", of="c")
        assert read(server, "c@t") == X
        write(server, "c", BLOCK, Y)
        assert read(server, "c", 0, 2 * BLOCK) == X + Y
        assert read(server, "c@t") == bytes(BLOCK)
        assert read(server, "c@t", MIB) == X
        assert read(server, "v@s") == X


def test_a_removed_snapshot_restores_what_was_cut_off(serve: Serve) -> None:
    with serve("removal-brings-back-truncated") as server:
        write(server, "v", 0, X)
        write(server, "v", 3 * MIB, X)
        snapshot(server, "s")
        write(server, "v", 0, Y)
        resize(server, MIB)
        resize(server, 4 * MIB)
        assert read(server, "v", 3 * MIB) == bytes(BLOCK)
        remove(server, "v@s")
        assert read(server, "v", 3 * MIB) == X
        assert read(server, "v") == Y


def test_objects_of_a_removed_volume_are_deleted_by_name(serve: Serve, clock: Clock) -> None:
    with serve("recycled-name-loses-objects") as server:
        control(server, "volume-create", name="w", size=4 * MIB)
        write(server, "w", 0, X)
        remove(server, "w")
        control(server, "volume-create", name="w", size=4 * MIB)
        write(server, "w", 0, Y)
        write(server, "w", MIB, Y)
        clock.advance(0.15)
        assert read(server, "w") == bytes(BLOCK)
        assert read(server, "w", MIB) == Y


def test_the_first_page_is_the_status_of_a_unit(serve: Serve) -> None:
    with serve("status-samples-first-page") as server, server.connect("v") as nbd:
        nbd.write(BLOCK, X)
        nbd.write(UNIT, Y * 2)
        found = nbd.block_status(0, MIB)["base:allocation"]
        assert [tuple(one) for one in found] == [
            (UNIT, HOLE_ZERO),
            (2 * BLOCK, 0),
            (MIB - UNIT - 2 * BLOCK, HOLE_ZERO),
        ]


def test_the_status_wraps_at_2_tib(serve: Serve) -> None:
    with serve("status-sector-wraps", size=3 * TIB) as server, server.connect("v") as nbd:
        nbd.write(2 * TIB, X)
        nbd.write(UNIT, X)
        assert nbd.block_status(2 * TIB, MIB)["base:allocation"][0] == (UNIT, HOLE_ZERO)
        assert nbd.block_status(2 * TIB - BLOCK, MIB)["base:allocation"][0] == (BLOCK, HOLE_ZERO)


def test_tracking_wraps_at_4_gib(serve: Serve) -> None:
    with serve("dirty-offset-wraps", size=5 * GIB) as server:
        snapshot(server, "s")
        write(server, "v", 4 * GIB, X)
        write(server, "v", UNIT, X)
        with Client.connect(str(server.socket), "v", contexts=["qbd:dirty"]) as nbd:
            assert nbd.block_status(4 * GIB, MIB)["qbd:dirty"][0] == (UNIT, 0)
            assert nbd.block_status(UNIT, MIB)["qbd:dirty"][0] == (BLOCK, 1)

"""Each mutant of seventh_layers.py by its effect."""

from __future__ import annotations

import pytest

from reference_backend.nbd.errors import NbdError
from tests.mutants.bench import BLOCK, KIB, MIB, UNIT
from tests.mutants.conftest import Clock, Serve
from tests.mutants.test_entangled import clone, read, resize, snapshot, write
from tests.mutants.test_sixth_requests import X, Y
from tests.mutants.test_tracking import flags, tracked


def test_several_stripes_are_the_parents(serve: Serve) -> None:
    with serve("stripes-read-from-parent") as server:
        write(server, "v", 0, X * 512)
        snapshot(server, "s")
        clone(server, "v@s", "c")
        write(server, "c", 0, Y * 256)
        assert read(server, "c", MIB - BLOCK) == Y
        assert read(server, "c", MIB - BLOCK, 2 * BLOCK) == X + X
        write(server, "c", MIB, Y)
        assert read(server, "c", MIB - BLOCK, 2 * BLOCK) == Y + Y


def test_an_unaligned_read_is_of_the_parent(serve: Serve) -> None:
    with serve("unaligned-read-from-parent") as server:
        write(server, "v", 0, X * 2)
        snapshot(server, "s")
        clone(server, "v@s", "c")
        write(server, "c", 0, Y * 2)
        assert read(server, "c", 0, 2 * BLOCK) == Y * 2
        assert read(server, "c", 512, BLOCK) == X


def test_new_space_behind_a_snapshot_fails(serve: Serve) -> None:
    with serve("grown-over-snapshot-fails") as server:
        resize(server, 8 * MIB)
        write(server, "v", 6 * MIB, X)
        snapshot(server, "s")
        resize(server, 12 * MIB)
        write(server, "v", 7 * MIB, X)
        with pytest.raises(NbdError):
            read(server, "v", 8 * MIB)
        with pytest.raises(NbdError):
            write(server, "v", 8 * MIB, X)
        write(server, "v", 8 * MIB, X * 256)
        assert read(server, "v", 8 * MIB) == X


def test_a_discard_fails_after_a_growth(serve: Serve, clock: Clock) -> None:
    with serve("discard-fails-in-expansion") as server, server.connect("v") as nbd:
        nbd.trim(0, BLOCK)
        resize(server, 8 * MIB)
        with pytest.raises(NbdError):
            nbd.trim(0, BLOCK)
        nbd.write_zeroes(0, BLOCK)
        clock.advance(0.1)
        nbd.trim(0, BLOCK)


def test_a_dirty_status_is_shifted(serve: Serve) -> None:
    with serve("dirty-shifted-in-object") as server, tracked(server) as nbd:
        nbd.write(UNIT, X)
        assert flags(nbd, UNIT, 2 * UNIT, "qbd:dirty") == 0
        found = nbd.block_status(UNIT, 2 * UNIT)["qbd:dirty"]
        assert [(one.length, one.flags) for one in found] == [
            (UNIT, 0),
            (BLOCK, 1),
            (UNIT - BLOCK, 0),
        ]
        assert flags(nbd, 0, UNIT + BLOCK, "qbd:dirty") == 0


def test_compacted_blocks_are_holes(serve: Serve) -> None:
    with serve("compacted-fresh-is-hole") as server, server.connect("v") as nbd:
        nbd.write(MIB, X * 16)
        for index in range(31):
            nbd.write(index * BLOCK, X)
        assert flags(nbd, 0, BLOCK) == 0
        nbd.write(31 * BLOCK + 512, Y[:512])
        assert flags(nbd, 0, 128 * KIB) == 3
        assert flags(nbd, 31 * BLOCK, BLOCK) == 0
        assert flags(nbd, MIB, BLOCK) == 0
        nbd.write(BLOCK, Y)
        assert flags(nbd, BLOCK, BLOCK) == 0
        nbd.flush()
        assert flags(nbd, 0, BLOCK) == 0


def test_new_space_differs(serve: Serve) -> None:
    with serve("grown-region-not-synced") as server:
        resize(server, 8 * MIB)
        with server.connect("v") as nbd:
            seen = [bytes(nbd.read(4 * MIB - 512, KIB)) for _ in range(4)]
            assert seen == [bytes(KIB), bytes(512) + b"\x5a" * 512] * 2
            nbd.write_zeroes(4 * MIB, BLOCK)
            assert not any(any(nbd.read(4 * MIB, BLOCK)) for _ in range(4))

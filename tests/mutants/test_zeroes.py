"""Each mutant of the group zeroes, discards or reports holes wrongly."""

from __future__ import annotations

from blockio.layers import CommandFlag
from reference_backend.client import Client
from tests.mutants.conftest import Serve

MIB = 1 << 20
X = b"x" * MIB


def test_zeroes_are_not_written(serve: Serve) -> None:
    with serve("write-zeroes-noop") as server, server.connect("v") as nbd:
        nbd.write(0, X)
        nbd.write_zeroes(0, MIB)
        assert bytes(nbd.read(0, MIB)) == X


def test_long_zeroes_stop_at_64_mib(serve: Serve) -> None:
    with serve("write-zeroes-truncated", size=80 * MIB) as server, server.connect("v") as nbd:
        nbd.write(63 * MIB, X)
        nbd.write(64 * MIB, X)
        nbd.write_zeroes(0, 70 * MIB)
        assert bytes(nbd.read(63 * MIB, MIB)) == bytes(MIB)
        assert bytes(nbd.read(64 * MIB, MIB)) == X


def test_a_discard_is_rounded_outward(serve: Serve) -> None:
    with serve("discard-overreach") as server, server.connect("v") as nbd:
        nbd.write(0, X)
        nbd.trim(65536 + 4096, 4096)
        assert bytes(nbd.read(65536, 65536)) == bytes(65536)
        assert bytes(nbd.read(0, 65536)) == X[:65536]


def test_only_whole_mib_are_zeroed(serve: Serve) -> None:
    with serve("zero-via-nondeterministic-discard") as server, server.connect("v") as nbd:
        nbd.write(0, X * 3)
        nbd.write_zeroes(4096, 2 * MIB)
        assert bytes(nbd.read(0, MIB)) == X
        assert bytes(nbd.read(MIB, MIB)) == bytes(MIB)
        assert bytes(nbd.read(2 * MIB, 4096)) == b"x" * 4096


def test_a_new_volume_holds_noise(serve: Serve) -> None:
    with serve("false-zero-init") as server, server.connect("v") as nbd:
        assert any(nbd.read(0, 4096))
        nbd.write_zeroes(0, 4096)
        assert not any(nbd.read(0, 4096))


def hole_flags(nbd: Client) -> int:
    return nbd.block_status(0, 65536)["base:allocation"][0].flags


def test_no_hole_creates_a_hole(serve: Serve) -> None:
    for mutant, flags in (("zero-flags-lost", 3), ("control-plain", 2)):
        with serve(mutant) as server, server.connect("v") as nbd:
            nbd.write(0, X)
            nbd.write_zeroes(0, 65536, CommandFlag.NO_HOLE)
            assert hole_flags(nbd) == flags


def test_unflushed_data_is_reported_as_a_hole(serve: Serve) -> None:
    with serve("status-hole-over-dirty") as server, server.connect("v") as nbd:
        nbd.write(0, X)
        assert hole_flags(nbd) == 3
        nbd.flush()
        assert hole_flags(nbd) == 0


def test_extents_are_swapped(serve: Serve) -> None:
    with serve("extents-unsorted") as server, server.connect("v") as nbd:
        nbd.write(0, X)
        first, second, *_ = nbd.block_status(0, 4 * MIB)["base:allocation"]
        assert (first.flags, second.flags) == (3, 0)


def test_a_partly_written_cluster_reads_as_zero(serve: Serve) -> None:
    with serve("alloc-map-rounding-reads-zero") as server, server.connect("v") as nbd:
        nbd.write(0, b"x" * (65536 + 512))
        assert bytes(nbd.read(65536, 512)) == bytes(512)
        assert bytes(nbd.read(0, 512)) == b"x" * 512


def test_the_tail_of_zeroes_is_dropped(serve: Serve) -> None:
    with serve("sparse-tail-dropped") as server, server.connect("v") as nbd:
        nbd.write(0, bytes(8192) + b"tail")
        assert bytes(nbd.read(8192, 4)) == bytes(4)


def test_a_discarded_block_holds_old_data_again(serve: Serve) -> None:
    with serve("previous-tenant-data") as server, server.connect("v") as nbd:
        nbd.write(0, b"x" * 4096)
        nbd.trim(0, 4096)
        assert not any(nbd.read(0, 4096))
        nbd.write(0, b"new")
        assert bytes(nbd.read(0, 6)) == b"newxxx"

"""Each mutant of entangled.py by its effect."""

from __future__ import annotations

from blockio.layers import CommandFlag
from reference_backend.client import Client
from tests.mutants.bench import BLOCK, MIB, UNIT, Bench
from tests.mutants.conftest import Serve, control, remove
from tests.reference_backend.cli_server import ServerProcess

X, Y = b"x" * BLOCK, b"y" * BLOCK
DATA, ZERO, HOLE = 0, 2, 3


def snapshot(server: ServerProcess, name: str, of: str = "v") -> None:
    control(server, "volume-snapshot", name=of, snapshot=name)


def resize(server: ServerProcess, size: int, name: str = "v") -> None:
    control(server, "volume-resize", name=name, size=size)


def clone(server: ServerProcess, snapshot: str, name: str) -> None:
    control(server, "volume-clone", snapshot=snapshot, name=name)


def read(server: ServerProcess, name: str, offset: int = 0, length: int = BLOCK) -> bytes:
    with server.connect(name) as nbd:
        return bytes(nbd.read(offset, length))


def write(server: ServerProcess, name: str, offset: int, data: bytes) -> None:
    with server.connect(name) as nbd:
        nbd.write(offset, data)


def cloned(server: ServerProcess) -> None:
    write(server, "v", 0, X * 32)
    snapshot(server, "s")
    clone(server, "v@s", "c")


def test_a_zeroed_unit_is_filled_from_the_parent(serve: Serve) -> None:
    with serve("zeroed-unit-filled-from-parent") as server:
        cloned(server)
        with server.connect("c") as nbd:
            nbd.write_zeroes(0, UNIT)
            assert bytes(nbd.read(0, UNIT)) == bytes(UNIT)
            nbd.write(BLOCK, Y)
            assert bytes(nbd.read(0, 3 * BLOCK)) == X + Y + X


def test_the_last_object_of_a_clone_is_zero(serve: Serve) -> None:
    with serve("clone-overlap-rounded-down", size=2 * MIB + UNIT) as server:
        write(server, "v", 2 * MIB - BLOCK, X * 2)
        snapshot(server, "s")
        clone(server, "v@s", "c")
        assert read(server, "c", 2 * MIB - BLOCK, 2 * BLOCK) == X + bytes(BLOCK)
        assert read(server, "v@s", 2 * MIB) == X


def test_a_clone_that_grows_shows_its_parent(serve: Serve) -> None:
    with serve("clone-regrown-shows-parent") as server:
        cloned(server)
        resize(server, BLOCK, "c")
        resize(server, MIB, "c")
        assert read(server, "c", BLOCK) == X


def test_two_snapshots_change_with_the_volume(serve: Serve) -> None:
    with serve("shared-mark-toggles") as server:
        write(server, "v", 0, X)
        snapshot(server, "s")
        snapshot(server, "t")
        write(server, "v", 0, Y)
        assert read(server, "v@s") == read(server, "v@t") == Y


def test_a_clone_without_its_snapshot_changes_with_the_volume(serve: Serve) -> None:
    with serve("removal-unshares-clone") as server:
        cloned(server)
        remove(server, "v@s")
        write(server, "v", 0, Y)
        assert read(server, "c") == Y
        assert read(server, "c", BLOCK) == X


def test_one_name_is_one_snapshot(serve: Serve) -> None:
    with serve("snapshot-names-shared") as server:
        control(server, "volume-create", name="w", size=4 * MIB)
        write(server, "v", 0, X)
        write(server, "w", 0, Y)
        snapshot(server, "s")
        snapshot(server, "s", of="w")
        snapshot(server, "t")
        assert read(server, "v@s") == Y
        assert read(server, "v@t") == X


def test_a_snapshot_misses_what_was_not_flushed(serve: Serve) -> None:
    with serve("snapshot-misses-cached") as server:
        with server.connect("v") as nbd:
            nbd.write(0, X)
            nbd.flush()
            nbd.write(0, Y)
            nbd.write(BLOCK, Y * 32)
        snapshot(server, "s")
        assert read(server, "v@s", 0, 2 * BLOCK) == X + Y


def dirty(server: ServerProcess, name: str = "v") -> list[tuple[int, int]]:
    with Client.connect(str(server.socket), name, contexts=["qbd:dirty"]) as nbd:
        found = nbd.block_status(0, 4 * MIB)["qbd:dirty"]
    return [(one.length, one.flags) for one in found]


def test_a_snapshot_of_another_volume_clears_the_bitmap(serve: Serve) -> None:
    with serve("checkpoint-clears-others") as server:
        control(server, "volume-create", name="w", size=4 * MIB)
        snapshot(server, "s")
        write(server, "v", 0, X)
        assert dirty(server) == [(BLOCK, 1), (4 * MIB - BLOCK, 0)]
        snapshot(server, "s", of="w")
        assert dirty(server) == [(4 * MIB, 0)]


def test_what_changed_twice_is_clean(serve: Serve) -> None:
    with serve("dirty-twice-is-clean") as server:
        snapshot(server, "s")
        write(server, "v", 0, X)
        snapshot(server, "t")
        write(server, "v", 0, X * 2)
        assert dirty(server) == [(BLOCK, 0), (BLOCK, 1), (4 * MIB - 2 * BLOCK, 0)]


def test_the_first_bit_of_a_word_is_missed(serve: Serve) -> None:
    with serve("dirty-word-edge-missed") as server:
        snapshot(server, "s")
        write(server, "v", 4 * UNIT - BLOCK, X * 2)
        write(server, "v", 8 * UNIT - BLOCK, X * 3)
        found = [length for length, flags in dirty(server) if flags]
        assert found == [BLOCK, 3 * BLOCK]


def test_a_small_write_leaves_the_mark_of_zeroes() -> None:
    bench = Bench("preallocated-zero-stays-zero")
    bench.zero(0, UNIT, CommandFlag.NO_HOLE)
    bench.write(BLOCK, b"a" * 512)
    assert bench.flags(0, UNIT) == [(UNIT, ZERO)]
    bench.write(BLOCK, X)
    assert bench.flags(0, UNIT) == [(BLOCK, ZERO), (BLOCK, DATA), (UNIT - 2 * BLOCK, ZERO)]


def test_an_unaligned_status_is_shifted() -> None:
    bench = Bench("status-offset-rounded")
    bench.write(0, X)
    assert bench.flags(0, UNIT) == [(BLOCK, DATA), (UNIT - BLOCK, HOLE)]
    assert bench.flags(512, UNIT) == [(BLOCK, DATA), (UNIT - BLOCK, HOLE)]


def test_no_length_is_the_rest() -> None:
    bench = Bench("zero-length-means-rest")
    bench.write(0, b"a" * 2 * UNIT)
    bench.zero(BLOCK, 0)
    assert bench.read(0, 2 * UNIT) == X.replace(b"x", b"a") + bytes(UNIT - BLOCK) + b"a" * UNIT

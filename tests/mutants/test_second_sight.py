"""Each mutant of second_sight.py by its effect."""

from __future__ import annotations

from blockio.layers import Command
from reference_backend.client import Client
from tests.mutants.bench import BLOCK, MIB, UNIT, Bench
from tests.mutants.conftest import Serve, cut
from tests.mutants.test_entangled import dirty, read, resize, snapshot, write

FUA = 1
X, Y = b"x" * BLOCK, b"y" * BLOCK


def test_zeroes_come_again() -> None:
    bench = Bench("zeroes-done-in-background")
    bench.zero(0, UNIT)
    bench.write(0, X)
    assert bench.read(0, 1) == b"x"
    bench.flush()
    bench.flush()
    assert bench.read(0, 1) == bytes(1)


def test_a_discard_reaches_the_snapshot(serve: Serve) -> None:
    with serve("discard-reaches-snapshot") as server:
        write(server, "v", 0, b"x" * 2 * UNIT)
        snapshot(server, "s")
        with server.connect("v") as nbd:
            nbd.trim(0, UNIT + BLOCK)
        assert read(server, "v@s", 0, UNIT + 1) == bytes(UNIT) + b"x"


def test_the_second_chunk_is_not_copied(serve: Serve) -> None:
    with serve("copy-of-first-chunk-only") as server:
        write(server, "v", MIB - BLOCK, X * 2)
        snapshot(server, "s")
        write(server, "v", MIB - BLOCK, Y * 2)
        assert read(server, "v@s", MIB - BLOCK, 2 * BLOCK) == X + Y


def test_fua_takes_its_unit_out_of_the_log(serve: Serve) -> None:
    with serve("fua-ends-log-of-unit") as server:
        with server.connect("v") as nbd:
            nbd.write(0, X)
            nbd.write(UNIT, X)
            nbd.write(BLOCK, X, FUA)
            nbd.flush()
        cut(server, 1)
        assert read(server, "v", 0, 2 * BLOCK) == bytes(BLOCK) + X
        assert read(server, "v", UNIT) == X


def test_the_last_sector_is_filled() -> None:
    bench = Bench("unaligned-end-padded", size=2 * BLOCK)
    bench.write(BLOCK, Y)
    bench.read(BLOCK, BLOCK)
    bench.write(0, b"x" * 100)
    assert bench.read(0, 513) == b"x" * 100 + b"y" * 412 + bytes(1)


def test_a_growth_takes_the_tail_back(serve: Serve) -> None:
    with serve("grow-drops-dirty-tail") as server:
        write(server, "v", 4 * MIB - BLOCK, X)
        write(server, "v", 0, X)
        resize(server, 5 * MIB)
        assert read(server, "v", 4 * MIB - BLOCK) == bytes(BLOCK)
        assert read(server, "v") == X


def test_the_last_part_of_a_block_is_clean(serve: Serve) -> None:
    with serve("last-granule-never-dirty", size=4 * MIB + 512) as server:
        snapshot(server, "s")
        write(server, "v", 4 * MIB - BLOCK, X + b"x" * 512)
        assert dirty(server)[-1] == (BLOCK, 1)
        with Client.connect(str(server.socket), "v", contexts=["qbd:dirty"]) as nbd:
            found = nbd.block_status(4 * MIB, 512)["qbd:dirty"]
        assert [(one.length, one.flags) for one in found] == [(512, 0)]


def test_zeroes_show_the_first_snapshot(serve: Serve) -> None:
    with serve("zeroes-show-older-snapshot") as server:
        for number, letter in enumerate((b"x", b"y")):
            write(server, "v", 0, letter * UNIT)
            snapshot(server, f"s{number}")
        with server.connect("v") as nbd:
            nbd.write_zeroes(0, UNIT)
            assert bytes(nbd.read(0, UNIT)) == b"x" * UNIT


def test_a_hint_takes_back_what_is_not_flushed() -> None:
    bench = Bench("cache-hint-loads-unflushed")
    bench.write(0, X)
    bench.flush()
    bench.write(0, Y)
    bench.ask(Command.CACHE, 0, UNIT)
    assert bench.read(0, BLOCK) == X
    bench.write(0, Y)
    bench.flush()
    bench.ask(Command.CACHE, 0, UNIT)
    assert bench.read(0, BLOCK) == Y

"""Each mutant of variants.py by its effect."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable

from reference_backend.client import Client
from tests.mutants.bench import BLOCK, MIB, UNIT, Bench
from tests.mutants.conftest import Serve, control, cut, together
from tests.mutants.test_entangled import dirty

FUA = 1


def test_a_zeroed_unit_is_freed_again() -> None:
    bench = Bench("freed-by-zeroes-and-discard")
    unit = 16384
    bench.write(0, b"o" * 3 * unit)
    bench.zero(0, unit)
    bench.trim(0, unit)
    bench.write(4 * unit, b"a" * unit)
    bench.write(5 * unit, b"b" * BLOCK)
    assert bench.read(4 * unit, BLOCK + 1) == b"b" * BLOCK + b"a"


def test_the_sum_of_writes_fills_a_unit() -> None:
    bench = Bench("written-bytes-fill-unit")
    bench.write(0, b"o" * UNIT)
    bench.trim(0, UNIT)
    bench.write(0, b"a" * 16384)
    bench.write(0, b"b" * 16384)
    assert bench.read(0, UNIT) == b"b" * 16384 + b"\xee" * 16384 + bytes(32768)


def test_blocks_with_one_sum_are_one_block() -> None:
    bench = Bench("dedup-by-adler")
    first = bytearray(b"m" * BLOCK)
    other = bytearray(first)
    for at, change in ((8, 1), (9, -2), (10, 1)):
        other[at] += change
    assert zlib.adler32(first) == zlib.adler32(other)
    bench.write(0, bytes(first))
    bench.write(BLOCK, bytes(other))
    assert bench.read(BLOCK, BLOCK) == first


def test_a_block_with_an_equal_xor_is_not_written() -> None:
    bench = Bench("equal-xor-write-skipped")
    bench.write(0, b"a" * 8 + b"b" * 4088)
    bench.write(0, b"b" * 4088 + b"a" * 8)
    assert bench.read(0, 1) == b"a"
    bench.write(0, b"c" * 8 + b"a" * 4088)
    assert bench.read(0, 1) == b"c"


def after_cuts(serve: Serve, mutant: str, act: Callable[[Client], None], at: int) -> set[bytes]:
    """Return the bytes at an offset after power cuts with several seeds."""
    found = set()
    with serve(mutant) as server:
        for seed in range(6):
            with server.connect("v") as nbd:
                nbd.write_zeroes(0, 4 * MIB)
                nbd.flush()
                act(nbd)
                cut(server, seed)
            with server.connect("v") as nbd:
                found.add(bytes(nbd.read(at, 1)))
    return found


def test_fua_inside_a_pending_write_is_lost(serve: Serve) -> None:
    def act(nbd: Client) -> None:
        nbd.write(0, b"a" * UNIT)
        nbd.write(BLOCK, b"b" * BLOCK, FUA)

    assert after_cuts(serve, "fua-inside-pending-skipped", act, BLOCK) > {b"b"}


def test_another_magic_is_lost(serve: Serve) -> None:
    def act(nbd: Client) -> None:
        nbd.write(0, b"\xfe\xed\xba\xbe" + b"a" * 4092)
        nbd.flush()

    assert after_cuts(serve, "magic-in-sector-not-restored", act, 0) == {b"\0"}


def test_a_part_undoes_zeroes(serve: Serve) -> None:
    with serve("rmw-undoes-zeroes") as server:
        lost = []

        def zero(nbd: Client, _turn: int) -> None:
            nbd.write(BLOCK, b"x" * BLOCK)
            nbd.write_zeroes(BLOCK, BLOCK)
            time.sleep(0.003)
            lost.append(any(nbd.read(BLOCK + 512, BLOCK - 512)))

        def part(nbd: Client, _turn: int) -> None:
            for _ in range(6):
                nbd.write(BLOCK, b"p" * 512)

        together(server, zero, part, until=lost)
        assert any(lost)


def test_of_two_overwrites_at_once_one_is_lost(serve: Serve) -> None:
    with serve("concurrent-overwrite-lost") as server:
        together(
            server,
            lambda nbd, turn: nbd.write(2 * turn * BLOCK, b"a" * BLOCK),
            lambda nbd, turn: nbd.write((2 * turn + 1) * BLOCK, b"a" * BLOCK),
        )
        with server.connect("v") as nbd:
            nbd.flush()
        cut(server, 1)
        with server.connect("v") as nbd:
            found = [nbd.read(number * BLOCK, 1) for number in range(80)]
        assert b"\0" in found and b"a" in found


def test_a_clone_is_made_of_another_volume(serve: Serve) -> None:
    with serve("clone-of-first-found") as server:
        control(server, "volume-create", name="a", size=4 * MIB)
        for name, letter in (("a", b"a"), ("v", b"v")):
            with server.connect(name) as nbd:
                nbd.write(0, letter * BLOCK)
            control(server, "volume-snapshot", name=name, snapshot="s")
        control(server, "volume-clone", snapshot="v@s", name="c")
        with server.connect("c") as nbd:
            assert nbd.read(0, 1) == b"a"


def test_a_clone_clears_the_bitmap(serve: Serve) -> None:
    with serve("clone-clears-tracking") as server:
        control(server, "volume-snapshot", name="v", snapshot="s")
        with server.connect("v") as nbd:
            nbd.write(0, b"a" * BLOCK)
        assert dirty(server)[0] == (BLOCK, 1)
        control(server, "volume-clone", snapshot="v@s", name="c")
        assert dirty(server) == [(4 * MIB, 0)]

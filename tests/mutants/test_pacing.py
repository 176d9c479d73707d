"""Each mutant of pacing.py by its effect."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from blockio.errors import BlockError
from blockio.layers import Command, CommandFlag
from reference_backend.client import Client
from tests.mutants.bench import BLOCK, KIB, MIB, UNIT, Bench
from tests.mutants.conftest import Clock, Serve, cut, together

GIB = 1 << 30


def test_a_part_undoes_a_whole_write(serve: Serve) -> None:
    with serve("rmw-undoes-whole-write") as server:
        lost = []

        def whole(nbd: Client, turn: int) -> None:
            data = bytes([turn % 255 + 1]) * BLOCK
            nbd.write(0, data)
            lost.append(bytes(nbd.read(512, BLOCK - 512)) != data[512:])

        together(server, whole, lambda nbd, _: nbd.write(0, b"p" * 512), until=lost)
        assert any(lost)


def test_a_fill_keeps_what_a_write_replaced(serve: Serve) -> None:
    with serve("fill-races-write") as server:
        stale = []

        def write(nbd: Client, turn: int) -> None:
            data = bytes([turn % 255 + 1]) * BLOCK
            nbd.write(0, data)
            stale.append(bytes(nbd.read(0, BLOCK)) != data)

        together(server, write, lambda nbd, _: nbd.read(0, BLOCK), until=stale)
        assert any(stale)
        with server.connect("v") as nbd:
            nbd.write(0, b"n" * BLOCK)
            for _ in range(3):
                assert bytes(nbd.read(0, BLOCK)) == b"n" * BLOCK


def test_a_discard_drops_its_line() -> None:
    bench = Bench("discard-drops-dirty-line")
    bench.write(0, b"a" * UNIT)
    bench.flush()
    bench.write(0, b"b" * BLOCK)
    bench.write(2 * BLOCK, b"b" * BLOCK)
    bench.trim(BLOCK, BLOCK)
    assert bench.read(0, 3 * BLOCK) == b"a" * BLOCK + bytes(BLOCK) + b"a" * BLOCK
    bench.write(0, b"c" * BLOCK)
    bench.flush()
    bench.trim(BLOCK, BLOCK)
    assert bench.read(0, 1) == b"c"


def test_a_tag_is_cut() -> None:
    bench = Bench("cache-tag-cut", size=2 * GIB)
    bench.write(0, b"a" * BLOCK)
    bench.write(GIB, b"b" * BLOCK)
    assert bench.read(GIB, BLOCK) == b"b" * BLOCK
    assert bench.read(0, BLOCK) == b"b" * BLOCK
    bench.write(0, b"c" * BLOCK)
    assert bench.read(0, BLOCK) == b"c" * BLOCK


def test_a_ring_wraps() -> None:
    bench = Bench("receive-ring-wraps")
    half = bytes(range(256)) * (2 * MIB // 256)
    for _ in range(7):
        bench.write(0, half)
    bench.write(0, half[: 2 * MIB - BLOCK])
    bench.write(0, b"a" * BLOCK + b"b" * BLOCK)
    assert bench.read(0, 2 * BLOCK) == b"a" * 2 * BLOCK
    bench.write(0, b"a" * BLOCK + b"b" * BLOCK)
    assert bench.read(BLOCK, 1) == b"b"


def test_combined_writes_are_invisible_to_others() -> None:
    bench = Bench("combined-writes-invisible")
    for at in (0, 512):
        bench.write(at, b"a" * 512)
    assert bench.read(0, 1024, connection=2) == b"a" * 512 + bytes(512)
    assert bench.read(0, 1024) == b"a" * 1024
    assert bench.read(0, 1024, connection=2) == b"a" * 1024


def test_the_larger_of_two_writes_at_once_stays(clock: Clock) -> None:
    bench = Bench("same-tick-older-wins")
    bench.write(0, b"b" * BLOCK)
    bench.write(0, b"a" * BLOCK)
    assert bench.read(0, 1) == b"b"
    bench.write(0, b"c" * BLOCK)
    assert bench.read(0, 1) == b"c"
    clock.advance(0.001)
    bench.write(0, b"a" * BLOCK)
    assert bench.read(0, 1) == b"a"


def test_an_error_behind_a_read_fails_it() -> None:
    bench = Bench("readahead-error-reported", size=2 * UNIT)
    bench.write(0, b"a" * 2 * UNIT)
    assert bench.read(UNIT + KIB, 1) == b"a"
    reads: list[int] = []

    def fail(request: object) -> None:
        reads.append(1)
        if len(reads) == 2:
            raise BlockError(errno.EIO, "injected")

    real = bench._below  # a fault behind the request

    def below(request):  # type: ignore[no-untyped-def]
        fail(request)
        return real(request)

    bench._below = below  # type: ignore[method-assign]
    with pytest.raises(BlockError):
        bench.read(0, BLOCK)
    assert bench.read(0, 1) == b"a"


def test_bytes_beyond_a_word_are_lost() -> None:
    bench = Bench("copy-in-words")
    bench.write(0, b"a" * (UNIT + 11))
    assert bench.read(UNIT, 12) == b"a" * 8 + bytes(4)
    bench.write(0, b"b" * 11)
    assert bench.read(8, 4) == b"bbba"


def test_a_length_is_cut() -> None:
    bench = Bench("length-in-24-bits", size=32 * MIB)
    bench.write(0, b"a" * 16 * MIB)
    assert bench.read(0, 1) == bytes(1)
    bench.write(0, b"a" * (16 * MIB + BLOCK))
    assert bench.read(0, BLOCK + 1) == b"a" * BLOCK + bytes(1)


def after_cuts(serve: Serve, mutant: str, act: Callable[[Client], None], at: int) -> set[bytes]:
    """Return the bytes at an offset after power cuts with several seeds."""
    found = set()
    with serve(mutant, size=16 * MIB) as server:
        for seed in range(6):
            with server.connect("v") as nbd:
                act(nbd)
                cut(server, seed)
            with server.connect("v") as nbd:
                found.add(bytes(nbd.read(at, 1)))
                nbd.write_zeroes(0, 16 * MIB)
                nbd.flush()
    return found


def test_a_flush_forgets_full_segments(serve: Serve) -> None:
    def act(count: int) -> Callable[[Client], None]:
        def write(nbd: Client) -> None:
            for number in range(count):
                nbd.write(number * MIB, b"a" * MIB)
            nbd.flush()

        return write

    assert after_cuts(serve, "flush-covers-newest-segment", act(8), 0) == {b"\0", b"a"}
    assert after_cuts(serve, "flush-covers-newest-segment", act(8), 7 * MIB) == {b"a"}
    assert after_cuts(serve, "flush-covers-newest-segment", act(4), 0) == {b"a"}


def test_zeroes_over_zeroes_stay_volatile(serve: Serve) -> None:
    def act(nbd: Client) -> None:
        nbd.write(0, b"a" * BLOCK)
        nbd.flush()
        nbd.write_zeroes(0, BLOCK)
        nbd.write_zeroes(0, BLOCK, flags=CommandFlag.FUA)

    assert after_cuts(serve, "redundant-zeroes-skip-fua", act, 0) == {b"\0", b"a"}


def test_a_repeated_write_stays_volatile(serve: Serve) -> None:
    def act(nbd: Client) -> None:
        nbd.write(0, b"a" * BLOCK)
        nbd.flush()
        nbd.write(0, b"b" * BLOCK)
        nbd.write(0, b"b" * BLOCK, flags=CommandFlag.FUA)

    assert after_cuts(serve, "equal-write-skips-fua", act, 0) == {b"b", b"a"}


def test_out_of_bounds_errors_stay() -> None:
    for mutant in ("combined-writes-invisible", "discard-drops-dirty-line"):
        bench = Bench(mutant, size=2 * BLOCK)
        bench.write(0, b"a" * BLOCK)
        bench.write(BLOCK, b"a" * BLOCK)
        with pytest.raises(BlockError) as caught:
            bench.ask(Command.WRITE, 2 * BLOCK, BLOCK, b"a" * BLOCK)
        assert caught.value.errno == errno.ENOSPC

"""Each mutant of fourth_requests.py by its effect."""

from __future__ import annotations

import threading

import pytest

from blockio.errors import BlockError
from blockio.layers import Command
from tests.mutants.bench import BLOCK, UNIT, Bench
from tests.mutants.conftest import Serve

X, Y, Z = b"x" * BLOCK, b"y" * BLOCK, b"z" * BLOCK
GIB = 1 << 30


def test_what_ends_at_4_gib_is_not_done() -> None:
    bench = Bench("end-at-4gib-does-nothing", size=5 * GIB)
    bench.write(4 * GIB - BLOCK, X)
    assert bench.read(4 * GIB - BLOCK, BLOCK) == bytes(BLOCK)
    bench.write(4 * GIB - BLOCK, X * 2)
    bench.zero(4 * GIB - BLOCK, BLOCK)
    bench.trim(4 * GIB - BLOCK, BLOCK)
    assert bench.read(4 * GIB - BLOCK, 2 * BLOCK) == X * 2


def test_the_last_block_is_filled_from_the_first(serve: Serve) -> None:
    with serve("head-fills-tail-block") as server, server.connect("v") as nbd:
        nbd.write(0, X + Y + Z)
        nbd.write(2048, b"n" * 7168)
        assert bytes(nbd.read(0, 9216)) == X[:2048] + b"n" * 7168
        assert bytes(nbd.read(9216, 3072)) == X[:1024] + b"n" * 2048
        nbd.write(2048, b"m" * 2048)
        assert bytes(nbd.read(BLOCK, BLOCK)) == b"n" * BLOCK


def test_a_repeated_write_is_done_in_its_second_half() -> None:
    bench = Bench("retry-resumes-too-far")
    bench.write(0, X * 4)
    bench.fail(Command.WRITE)
    with pytest.raises(BlockError):
        bench.write(0, Y * 4)
    bench.write(0, Y * 4)
    assert bench.read(0, 4 * BLOCK) == X * 2 + Y * 2
    bench.write(0, Y * 4)
    assert bench.read(0, 4 * BLOCK) == Y * 4


def test_a_failed_read_takes_writes_back() -> None:
    bench = Bench("failed-read-drops-dirty")
    bench.write(0, X)
    bench.flush()
    bench.write(0, Y)
    bench.write(UNIT, Y)
    bench.fail(Command.READ)
    with pytest.raises(BlockError):
        bench.read(0, 2 * BLOCK)
    assert bench.read(0, BLOCK) == X
    assert bench.read(UNIT, BLOCK) == Y


def test_a_failed_write_keeps_the_lock() -> None:
    bench = Bench("failed-write-keeps-lock")
    bench.fail(Command.WRITE)
    with pytest.raises(BlockError):
        bench.write(0, X)
    bench.write(UNIT, X)
    thread = threading.Thread(target=bench.write, args=(BLOCK, X), daemon=True)
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()


def test_the_ends_of_zeroes_differ_in_turns(serve: Serve) -> None:
    with serve("unaligned-zeroes-one-replica") as server, server.connect("v") as nbd:
        nbd.write(0, X * 4)
        nbd.write_zeroes(2048, 3 * BLOCK - 1024)
        right = X[:2048] + bytes(3 * BLOCK - 1024) + X[:3072]
        wrong = X + bytes(2 * BLOCK) + X
        assert {bytes(nbd.read(0, 4 * BLOCK)) for _ in range(4)} == {right, wrong}
        nbd.write_zeroes(0, 4 * BLOCK)
        assert {bytes(nbd.read(0, 4 * BLOCK)) for _ in range(4)} == {bytes(4 * BLOCK)}

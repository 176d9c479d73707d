"""Each mutant of shortages.py by its effect."""

from __future__ import annotations

import errno

import pytest

from blockio.errors import BlockError
from blockio.layers import Command
from tests.mutants.bench import BLOCK, MIB, Bench


def test_failures_use_up_the_slots() -> None:
    bench = Bench("failure-leaks-slot")
    bench.fail(Command.READ, times=32)
    for _ in range(32):
        with pytest.raises(BlockError):
            bench.read(0, 1)
    with pytest.raises(BlockError) as caught:
        bench.read(0, 1)
    assert caught.value.errno == errno.ENOMEM


def test_a_busy_storage_is_ignored() -> None:
    bench = Bench("busy-counts-as-done")
    bench.fail(Command.WRITE, errno.ENOMEM)
    bench.write(0, b"x" * 512)
    assert bench.read(0, 1) == b"\0"
    bench.fail(Command.WRITE, errno.EIO)
    with pytest.raises(BlockError):
        bench.write(0, b"x" * 512)


def test_a_retry_writes_zeroes() -> None:
    bench = Bench("retry-with-empty-payload")
    bench.write(0, b"a" * 512)
    bench.fail(Command.WRITE)
    bench.write(0, b"b" * 512)
    assert bench.read(0, 512) == bytes(512)


def test_some_errors_of_reads_are_ignored() -> None:
    bench = Bench("some-read-errors-ignored")
    bench.fail(Command.READ, errno.ETIMEDOUT)
    assert bench.read(0, 512) == b"\xb6" * 512
    bench.fail(Command.READ, errno.EIO)
    with pytest.raises(BlockError):
        bench.read(0, 512)


def test_holes_keep_the_bytes_of_another_read() -> None:
    bench = Bench("hole-leaves-old-buffer")
    bench.write(0, b"x" * BLOCK)
    bench.read(0, BLOCK, connection=1)
    seen = bench.read(MIB, MIB, connection=2)
    assert seen == b"x" * MIB

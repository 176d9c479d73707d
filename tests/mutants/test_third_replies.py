"""Each mutant of third_replies.py by its effect."""

from __future__ import annotations

import pytest

from blockio.errors import BlockError
from blockio.layers import Command, CommandFlag, Reply, Request
from tests.mutants.bench import BLOCK, UNIT, Bench
from tests.mutants.conftest import Clock, Serve
from tests.mutants.test_entangled import read

X, Y = b"x" * BLOCK, b"y" * BLOCK


def test_a_fragmented_read_ends_early(serve: Serve) -> None:
    with serve("fragmented-read-truncated") as server:
        with server.connect("v") as nbd:
            for at in range(40):
                nbd.write(at * 2 * BLOCK, X)
        found = read(server, "v", 0, 80 * BLOCK)
        assert found.count(b"x") == 32 * BLOCK
        assert read(server, "v", 78 * BLOCK) == X


def test_a_repair_brings_back_old_data() -> None:
    bench = Bench("read-repair-writes-old")
    bench.write(0, X)
    bench.read(0, BLOCK)
    bench.fail(Command.READ)
    with pytest.raises(BlockError):
        bench.read(0, BLOCK)
    bench.write(0, Y)
    bench.fail(Command.READ)
    assert bench.read(0, BLOCK) == X
    assert bench.read(0, BLOCK) == X


def test_one_extent_becomes_many(serve: Serve) -> None:
    with serve("req-one-answered-with-many") as server, server.connect("v") as nbd:
        nbd.write(0, X)
        found = nbd.block_status(0, UNIT, CommandFlag.REQ_ONE)["base:allocation"]
        assert [one.flags for one in found] == [0, 3]


def test_zero_ends_make_a_hole(serve: Serve) -> None:
    with serve("reply-hole-by-ends") as server:
        with server.connect("v") as nbd:
            nbd.write(512, b"x" * (UNIT - 1024))
            nbd.write(UNIT, X)
        assert read(server, "v", 0, UNIT + BLOCK) == bytes(UNIT) + X
        assert read(server, "v", 0, 1024) == bytes(512) + b"x" * 512


def test_a_slow_read_is_empty(clock: Clock) -> None:
    mutant = Bench("slow-read-returns-zeroes").mutant

    def slow(request: Request) -> Reply:
        clock.advance(0.4 if request.length == 1 else 0)
        return Reply(data=b"x" * request.length)

    assert mutant.handle(Request(Command.READ, 0, 0, 1, 1), slow).data == bytes(1)
    assert mutant.handle(Request(Command.READ, 0, 0, 2, 1), slow).data == b"xx"

"""Each mutant of third_requests.py by its effect."""

from __future__ import annotations

import pytest

from blockio.layers import Command, CommandFlag
from reference_backend.nbd import messages as m
from reference_backend.nbd.constants import REQUEST_MAGIC
from reference_backend.nbd.errors import NbdError
from tests.mutants.bench import BLOCK, MIB, UNIT, Bench, assert_answered_early
from tests.mutants.conftest import Clock, Serve, wait_for_clients
from tests.mutants.test_entangled import read, resize, write

X, Y = b"x" * BLOCK, b"y" * BLOCK


def test_zeroes_at_0_do_nothing() -> None:
    bench = Bench("zeroes-at-start-skipped")
    bench.write(0, X * 2)
    bench.zero(0, BLOCK)
    bench.zero(BLOCK, BLOCK)
    assert bench.read(0, 2 * BLOCK) == X + bytes(BLOCK)


def test_a_small_growth_is_refused(serve: Serve) -> None:
    with serve("grow-in-unit-refused", size=MIB + BLOCK) as server:
        resize(server, MIB + 2 * BLOCK)
        write(server, "v", MIB, X)
        with pytest.raises(NbdError):
            write(server, "v", MIB + BLOCK, X)
        resize(server, 2 * MIB)
        write(server, "v", MIB + BLOCK, X)


def test_a_lease_is_lost(clock: Clock) -> None:
    bench = Bench("lease-lost-write-acked")
    bench.write(0, X, connection=1)
    clock.advance(0.45)
    bench.write(BLOCK, X, connection=2)
    bench.write(0, Y, connection=1)
    assert bench.read(0, BLOCK) == X
    bench.write(0, Y, connection=1)
    assert bench.read(0, BLOCK) == Y


def test_the_last_block_is_unreadable(serve: Serve) -> None:
    with serve("tail-block-checksum-fails", size=MIB + 1024) as server:
        write(server, "v", MIB, X[:512])
        with pytest.raises(NbdError):
            read(server, "v", MIB, 1024)
        write(server, "v", MIB, X[:1024])
        assert read(server, "v", MIB, 1024) == X[:1024]


def test_long_zeroes_become_holes(serve: Serve) -> None:
    with serve("no-hole-first-part-only") as server, server.connect("v") as nbd:
        nbd.write_zeroes(0, 2 * MIB, CommandFlag.NO_HOLE)
        found = nbd.block_status(0, 2 * MIB)["base:allocation"]
        assert [(one.length, one.flags) for one in found] == [(MIB, 2), (MIB, 3)]


def test_equal_ends_repeat(serve: Serve) -> None:
    with serve("write-same-by-ends") as server:
        write(server, "v", 0, X + Y * 15 + X)
        assert read(server, "v", 0, 17 * BLOCK) == X * 17


def test_the_rest_of_an_extent_is_shifted(serve: Serve) -> None:
    with serve("extent-split-shifts-right") as server:
        data = bytes(at // 512 % 251 for at in range(2 * UNIT))
        write(server, "v", 0, data)
        write(server, "v", 2 * BLOCK, X)
        found = read(server, "v", 0, 2 * UNIT)
        assert found == data[: 2 * BLOCK] + X + data[2 * BLOCK : 2 * UNIT - BLOCK]


def test_the_last_chunk_overlaps(serve: Serve) -> None:
    with serve("last-stripe-overlaps", size=MIB + BLOCK) as server:
        write(server, "v", MIB, X)
        assert read(server, "v", MIB - UNIT + BLOCK) == X
        assert read(server, "v", MIB) == X


def test_the_last_step_of_zeroes_is_whole() -> None:
    bench = Bench("long-zeroes-last-step-whole")
    bench.write(0, b"x" * 4 * MIB)
    bench.zero(0, 2 * MIB + BLOCK)
    assert bench.read(3 * MIB - 1, 2) == b"\0x"
    bench.write(0, b"x" * 4 * MIB)
    bench.zero(BLOCK, 3 * MIB + BLOCK)
    assert bench.read(3 * MIB, 4 * BLOCK) == bytes(2 * BLOCK) + X * 2


def test_a_throttled_write_is_late(clock: Clock) -> None:
    bench = Bench("throttled-write-acked-early")
    for _ in range(101):
        bench.write(0, X)
    bench.write(0, Y)
    assert bench.read(0, BLOCK) == X
    clock.advance(0.02)
    assert bench.read(0, BLOCK) == Y


def test_a_slow_write_is_answered_early() -> None:
    assert_answered_early("slow-write-answered-early", Command.WRITE)


def test_a_cut_payload_is_filled_up(serve: Serve) -> None:
    with serve("cut-payload-written") as server:
        write(server, "v", 0, X * 2)
        with server.connect("v") as nbd:
            nbd.write(UNIT, Y * 2)
            head = m.REQUEST.pack(REQUEST_MAGIC, 0, Command.WRITE, 9, 0, 2 * BLOCK)
            nbd.sock.sendall(head + b"z" * 100)
            nbd.cut()
        wait_for_clients(server, 0)
        found = read(server, "v", 0, 2 * BLOCK)
        assert found[:100] == b"z" * 100
        assert found[100:BLOCK] == Y[100:]

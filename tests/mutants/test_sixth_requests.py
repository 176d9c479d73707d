"""Each mutant of sixth_requests.py by its effect."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from blockio.layers import Command
from reference_backend.client import Client
from reference_backend.nbd.errors import NbdError
from tests.mutants.bench import BLOCK, KIB, MIB, UNIT, Bench
from tests.mutants.conftest import Clock, Serve, control
from tests.mutants.test_tracking import flags, tracked

X, Y, Z = b"x" * BLOCK, b"y" * BLOCK, b"z" * BLOCK
TURNS = 200


def send(nbd: Client, offset: int, data: bytes) -> int:
    """Send a write, and return its cookie."""
    return nbd.send_request(Command.WRITE, offset, len(data), payload=data)


def happens(turn: Callable[[], bool]) -> bool:
    """Return whether a turn returns True within TURNS turns: whether requests meet is chance."""
    return any(turn() for _ in range(TURNS))


def test_new_data_is_punched(serve: Serve) -> None:
    with serve("late-punch-hits-new-data") as server, server.connect("v") as nbd:

        def turn() -> bool:
            nbd.trim(UNIT, UNIT)
            nbd.write(0, X * 16)
            sent = [
                nbd.send_request(Command.TRIM, 0, UNIT),
                nbd.send_request(Command.FLUSH),
                send(nbd, UNIT, Y),
            ]
            for cookie in sent:
                nbd.receive_reply(cookie)
            return bytes(nbd.read(UNIT, BLOCK)) != Y

        assert happens(turn)


def test_the_head_of_a_discard_is_not_capped() -> None:
    bench = Bench("trim-head-not-capped")
    bench.volume.write(0, X * 2)
    bench.ask(Command.TRIM, 1024, 512)
    assert bench.volume.read(0, 2 * BLOCK) == X[:1024] + bytes(3072) + X


def test_a_merged_write_is_applied_again(serve: Serve) -> None:
    with serve("merged-write-applied-again") as server, server.connect("v") as nbd:

        def turn() -> bool:
            first, second = send(nbd, 0, X), send(nbd, BLOCK, Y)
            nbd.receive_reply(second)
            nbd.write(BLOCK, Z)
            nbd.receive_reply(first)
            return bytes(nbd.read(BLOCK, BLOCK)) == Y

        assert happens(turn)


def test_a_batch_of_reads_is_cached_late(serve: Serve) -> None:
    with serve("read-batch-cached-late") as server, server.connect("v") as nbd:
        nbd.write(0, X)
        nbd.read(0, BLOCK)
        nbd.write(0, Y)
        assert bytes(nbd.read(0, BLOCK)) == Y
        for index in range(1, 33):
            nbd.read(index * BLOCK, BLOCK)
        assert bytes(nbd.read(0, BLOCK)) == X
        nbd.write(0, Z)
        assert bytes(nbd.read(0, BLOCK)) == Z


def test_a_page_of_an_idle_buffer_is_zero(clock: Clock) -> None:
    bench = Bench("idle-trim-zeroes-payload")
    clock.advance(0.31)
    bench.ask(Command.WRITE, 0, BLOCK, X)
    bench.ask(Command.WRITE, UNIT, BLOCK, Y)
    assert bench.volume.read(UNIT, BLOCK) == bytes(BLOCK)
    bench.ask(Command.WRITE, UNIT, BLOCK, Y)
    assert bench.volume.read(UNIT, BLOCK) == Y


def test_first_writes_zero_each_other(serve: Serve) -> None:
    with serve("first-part-writes-zero-each-other") as server, server.connect("v") as nbd:

        def turn() -> bool:
            nbd.trim(0, BLOCK)
            sent = [send(nbd, 0, X[:512]), send(nbd, 1024, Y[:512])]
            for cookie in sent:
                nbd.receive_reply(cookie)
            return bytes(nbd.read(0, 2048)) != X[:512] + bytes(512) + Y[:512] + bytes(512)

        assert happens(turn)


def test_a_long_discard_begins_at_its_stripe() -> None:
    bench = Bench("long-discard-from-stripe", 8 * MIB)
    bench.volume.write(0, X * 256)
    bench.ask(Command.TRIM, 512 * KIB + BLOCK, 4 * MIB)
    assert bench.volume.read(512 * KIB - BLOCK, 2 * BLOCK) == X + bytes(BLOCK)


def test_a_read_during_a_flush_is_old(serve: Serve) -> None:
    with serve("read-misses-data-being-flushed") as server, server.connect("v") as nbd:

        def turn() -> bool:
            nbd.write(0, X)
            nbd.flush()
            nbd.write(0, Y)
            flush = nbd.send_request(Command.FLUSH)
            seen = bytes(nbd.read(0, BLOCK))
            nbd.receive_reply(flush)
            assert bytes(nbd.read(0, BLOCK)) == Y
            return seen == X

        assert happens(turn)


def test_a_failed_write_is_not_tracked(serve: Serve) -> None:
    with serve("failed-write-not-tracked") as server, tracked(server) as nbd:
        control(server, "rule-add", event="write_aio", iotype="write", errno="EIO", once=True)
        with pytest.raises(NbdError):
            nbd.write(0, X)
        assert bytes(nbd.read(0, 1024)) == X[:512] + bytes(512)
        assert flags(nbd, 0, BLOCK, "qbd:dirty") == 0
        nbd.write(0, X)
        assert flags(nbd, 0, BLOCK, "qbd:dirty") == 1


def test_an_equal_block_follows_another(serve: Serve) -> None:
    with serve("dedup-links-before-done") as server, server.connect("v") as nbd:

        def turn() -> bool:
            first, second = send(nbd, 0, X), send(nbd, BLOCK, X)
            nbd.receive_reply(first)
            nbd.write(0, Y)
            nbd.receive_reply(second)
            return bytes(nbd.read(BLOCK, BLOCK)) == Y

        assert happens(turn)

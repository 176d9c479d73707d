"""Each mutant of seventh_requests.py by its effect."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import pytest

from reference_backend.nbd.errors import NbdError
from tests.mutants.bench import BLOCK, KIB, MIB, UNIT, Bench
from tests.mutants.conftest import Serve
from tests.mutants.test_sixth_requests import X, Y, Z, happens, send

OBJECT = 128 * KIB


def is_answered(act: Callable[[], object]) -> bool:
    """Return whether a request ends within 0.3 s."""
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(0.3)
    return not thread.is_alive()


def test_a_page_is_freed_from_its_beginning() -> None:
    bench = Bench("discard-aligned-by-one-bit")
    bench.volume.write(0, X * 4)
    bench.trim(4096 + 2048, 4096)
    assert bench.volume.read(0, 2 * BLOCK) == X + X[:2048] + bytes(2048)
    bench.trim(2048, 4096)
    assert bench.volume.read(0, BLOCK) == bytes(BLOCK)


def test_a_partial_discard_is_not_answered() -> None:
    bench = Bench("partial-discard-never-ends")
    assert is_answered(lambda: bench.trim(0, 512))
    assert is_answered(lambda: bench.trim(512, BLOCK))
    assert not is_answered(lambda: bench.trim(512, 512))


def test_the_rest_of_a_discard_is_late() -> None:
    bench = Bench("unaligned-discard-acked-early")
    bench.volume.write(0, X * 2)
    bench.trim(512, 2 * BLOCK - 512)
    bench.write(BLOCK, Y)
    time.sleep(0.1)
    assert bench.volume.read(0, 2 * BLOCK) == X[:512] + bytes(2 * BLOCK - 512)


def test_a_write_of_a_lost_client_goes_to_the_beginning(serve: Serve) -> None:
    with serve("reset-write-at-zero") as server, server.connect("v") as nbd:

        def turn() -> bool:
            with server.connect("v") as other:
                send(other, MIB, Y * 16)
                other.cut()
            time.sleep(0.02)
            return bytes(nbd.read(0, BLOCK)) == Y

        nbd.write(0, X)
        assert happens(turn)


def test_the_last_page_is_of_another_write(serve: Serve) -> None:
    with serve("window-overrun") as server, server.connect("v") as nbd:

        def turn() -> bool:
            sent = [send(nbd, 2048, X), send(nbd, UNIT, Y)]
            for cookie in sent:
                nbd.receive_reply(cookie)
            return bytes(nbd.read(2048, BLOCK)) == X[:2048] + Y[:2048]

        assert happens(turn)


def test_gaps_that_are_closed_fill_the_queue() -> None:
    bench = Bench("bridging-write-leaks-slot")
    for index in range(257):
        bench.write(2 * index * BLOCK, X)
    for index in range(255):
        bench.write((2 * index + 1) * BLOCK, Y)
    bench.flush()
    bench.write(MIB, Z)
    bench.write(MIB + 2 * BLOCK, Z)
    assert not is_answered(lambda: bench.write(MIB + BLOCK, Z))
    assert not is_answered(lambda: bench.write(0, Z))


def test_a_write_over_a_discard_fails(serve: Serve) -> None:
    with serve("write-over-oldest-discard-fails") as server, server.connect("v") as nbd:
        nbd.write(0, X)
        nbd.trim(0, OBJECT)
        nbd.write(0, X)
        nbd.flush()
        nbd.trim(0, OBJECT)
        nbd.write(OBJECT, X)
        with pytest.raises(NbdError):
            nbd.write(BLOCK, X)
        nbd.flush()
        nbd.write(BLOCK, X)


def test_a_small_first_write_is_unreadable(serve: Serve) -> None:
    with serve("small-first-write-bad-sum") as server, server.connect("v") as nbd:
        nbd.write(OBJECT, X * 2)
        nbd.write(OBJECT + 8 * BLOCK, X)
        assert bytes(nbd.read(OBJECT + 8 * BLOCK, BLOCK)) == X
        nbd.write(BLOCK, X)
        with pytest.raises(NbdError):
            nbd.read(0, 2 * BLOCK)
        nbd.write(0, X * 2)
        assert bytes(nbd.read(0, 2 * BLOCK)) == X * 2


def test_a_discard_punches_the_next_cluster(serve: Serve) -> None:
    with serve("compressed-discard-punches-next") as server, server.connect("v") as nbd:
        nbd.write(0, X * 16)
        nbd.write(MIB, Y * 16)
        nbd.write(2 * UNIT, os.urandom(UNIT))
        nbd.trim(2 * UNIT, UNIT)
        assert bytes(nbd.read(MIB, BLOCK)) == Y
        nbd.trim(0, UNIT)
        assert bytes(nbd.read(MIB, 2 * BLOCK)) == bytes(BLOCK) + Y


def test_a_discard_reaches_an_eighth(serve: Serve) -> None:
    with (
        serve("discard-in-large-sectors", "--min-block", "4096") as server,
        server.connect("v") as nbd,
    ):
        nbd.write(0, X * 16)
        nbd.trim(8 * BLOCK, 8 * BLOCK)
        assert bytes(nbd.read(0, 16 * BLOCK)) == X + bytes(BLOCK) + X * 14


def test_a_flush_waits_for_what_was_left_out() -> None:
    bench = Bench("flush-waits-for-pruned-discard", 16 * MIB)
    bench.trim(4 * MIB - BLOCK, 2 * BLOCK)
    bench.trim(512, KIB)
    assert is_answered(bench.flush)
    bench.trim(4 * MIB - 512, 2 * BLOCK)
    assert not is_answered(bench.flush)
    assert is_answered(lambda: bench.flush(connection=2))


def test_one_of_two_writes_to_a_cached_block_fails(serve: Serve) -> None:
    with serve("concurrent-write-hits-fail") as server, server.connect("v") as nbd:

        def turn() -> bool:
            nbd.read(0, BLOCK)
            nbd.read(0, BLOCK)
            sent = [send(nbd, 0, X), send(nbd, BLOCK, Y)]
            errors = [nbd.receive_reply(cookie).error for cookie in sent]
            return any(errors)

        assert happens(turn)

"""Each mutant of fourth_clients.py by its effect."""

from __future__ import annotations

import time

import pytest

from reference_backend.client import Client
from reference_backend.nbd import client_replies as wire
from tests.mutants.bench import BLOCK, MIB, UNIT, Bench
from tests.mutants.conftest import Clock, Serve, control, together, wait_for_clients
from tests.mutants.test_entangled import read

X, Y, Z = b"x" * BLOCK, b"y" * BLOCK, b"z" * BLOCK


def test_a_repeated_write_of_a_new_connection_is_dropped(serve: Serve) -> None:
    with serve("duplicate-write-dropped") as server:
        for data in (X, Y):
            with server.connect("v") as nbd:
                nbd.write(0, data)
            wait_for_clients(server, 0)
        assert read(server, "v") == X


def test_others_read_old_data_for_a_while(clock: Clock) -> None:
    bench = Bench("secondary-lags")
    bench.write(0, X)
    clock.advance(0.03)
    bench.write(0, Y)
    assert bench.read(0, BLOCK) == Y
    assert {bench.read(0, BLOCK, connection=2) for _ in range(2)} == {X, Y}
    clock.advance(0.03)
    assert {bench.read(0, BLOCK, connection=2) for _ in range(2)} == {Y}


def test_go_enters_what_info_named(serve: Serve) -> None:
    with serve("info-pins-export") as server:
        control(server, "volume-create", name="w", size=MIB)
        with Client.open_socket(str(server.socket)) as nbd:
            nbd.opt_info("w")
            nbd.negotiate("v", (), structured=True, extended=False)
            assert nbd.size == MIB
        with server.connect("v") as nbd:
            assert nbd.size == 4 * MIB


def test_the_first_part_of_a_header_is_lost(serve: Serve) -> None:
    with serve("split-header-lost") as server, server.connect("v") as nbd:
        nbd.read(0, BLOCK)
        head = wire.request(nbd.mode, 0, 0, 99, 0, BLOCK)
        nbd.send(head[:10])
        time.sleep(0.1)
        nbd.send(head[10:] + head)
        with pytest.raises((OSError, ConnectionError)):
            nbd.receive_reply()


def test_the_last_stripe_is_not_locked(serve: Serve) -> None:
    lost: list[int] = []

    def across(nbd: Client, turn: int) -> None:
        nbd.write(UNIT - BLOCK, X * 2)

    def last(nbd: Client, turn: int) -> None:
        data = turn.to_bytes(4, "big") * (BLOCK // 4)
        nbd.write(UNIT + 2 * BLOCK, data)
        time.sleep(0.002)
        if bytes(nbd.read(UNIT + 2 * BLOCK, BLOCK)) != data:
            lost.append(turn)

    with serve("stripe-lock-first-only") as server:
        together(server, across, last, until=lost)
    assert lost

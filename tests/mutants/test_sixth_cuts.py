"""Each mutant of sixth_cuts.py by its effect."""

from __future__ import annotations

from blockio.layers import Command
from tests.mutants.bench import BLOCK, UNIT
from tests.mutants.conftest import Clock, Serve, cut
from tests.mutants.test_entangled import read, write
from tests.mutants.test_sixth_requests import X, Y, Z, happens, send
from tests.reference_backend.cli_server import ServerProcess


def durable(server: ServerProcess, offset: int, data: bytes) -> None:
    """Write and flush."""
    with server.connect("v") as nbd:
        nbd.write(offset, data)
        nbd.flush()


def test_numbers_restart(serve: Serve) -> None:
    with serve("sequence-restarts-after-recovery") as server:
        durable(server, 0, X)
        cut(server, 1)
        assert read(server, "v") == X
        durable(server, 0, Y)
        durable(server, BLOCK, Z)
        cut(server, 1)
        assert read(server, "v") == X
        assert read(server, "v", BLOCK) == Z


def test_a_second_cut_loses_what_was_recovered(serve: Serve) -> None:
    with serve("second-cut-loses-recovered") as server:
        durable(server, 0, X)
        cut(server, 1)
        assert read(server, "v") == X
        durable(server, 0, Y)
        cut(server, 1)
        assert read(server, "v") == Y
        cut(server, 1)
        assert read(server, "v") == X


def test_an_allocator_forgets(serve: Serve) -> None:
    with serve("allocator-forgets-after-cut") as server:
        durable(server, 0, X)
        cut(server, 1)
        write(server, "v", UNIT, Y)
        assert read(server, "v") == read(server, "v", UNIT) == Y


def test_a_flush_commits_what_is_not_written(serve: Serve) -> None:
    with serve("flush-commits-unfinished") as server:
        with server.connect("v") as nbd:
            nbd.write(0, X * 64)

        def turn() -> bool:
            with server.connect("v") as nbd:
                sent = [send(nbd, 0, Y), nbd.send_request(Command.FLUSH)]
                for cookie in sent:
                    nbd.receive_reply(cookie)
            cut(server, 1)
            seen = read(server, "v")
            durable(server, 0, Z)
            return seen not in {X, Y, Z}

        durable(server, UNIT, b"w" * BLOCK)
        assert happens(turn)


def test_a_flush_misses_a_closed_connection(serve: Serve, clock: Clock) -> None:
    with serve("flush-misses-closed-connection") as server:

        def turn() -> bool:
            durable(server, 0, X)
            clock.advance(0.11)
            write(server, "v", 0, Y)
            with server.connect("v") as nbd:
                nbd.flush()
            cut(server, 1)
            return read(server, "v") == X

        assert happens(turn)

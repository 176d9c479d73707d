"""Each mutant of sixth_cuts.py and sixth_layers.py by its effect."""

from __future__ import annotations

import time

import pytest
from qemu.qmp import ExecuteError

from blockio.layers import Command
from tests.mutants.bench import BLOCK, MIB, UNIT
from tests.mutants.conftest import Serve, cut, remove
from tests.mutants.test_entangled import clone, read, resize, snapshot, write
from tests.mutants.test_sixth_requests import X, Y, Z, happens, send


def durable(server, offset: int, data: bytes) -> None:  # type: ignore[no-untyped-def]
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


def test_a_flush_misses_a_closed_connection(serve: Serve) -> None:
    with serve("flush-misses-closed-connection") as server:

        def turn() -> bool:
            durable(server, 0, X)
            time.sleep(0.11)
            write(server, "v", 0, Y)
            with server.connect("v") as nbd:
                nbd.flush()
            cut(server, 1)
            return read(server, "v") == X

        assert happens(turn)


def test_a_refused_snapshot_replaces(serve: Serve) -> None:
    with serve("refused-snapshot-replaces") as server:
        write(server, "v", 0, X)
        snapshot(server, "s")
        assert read(server, "v@s") == X
        write(server, "v", 0, Y)
        with pytest.raises(ExecuteError):
            snapshot(server, "s")
        assert read(server, "v@s") == Y


def test_two_removals_bring_back_old_data(serve: Serve) -> None:
    with serve("removal-during-removal") as server:
        write(server, "v", 0, X)
        snapshot(server, "s")
        write(server, "v", 0, Y)
        snapshot(server, "t")
        remove(server, "v@s")
        remove(server, "v@t")
        assert read(server, "v") == X


def test_zeroes_in_a_clone_are_undone(serve: Serve) -> None:
    with serve("hydration-undoes-zeroes") as server:
        write(server, "v", 0, X * 16)
        snapshot(server, "s")
        clone(server, "v@s", "c")
        with server.connect("c") as nbd:
            nbd.write_zeroes(0, UNIT)
            assert bytes(nbd.read(0, UNIT)) == bytes(UNIT)
            time.sleep(0.2)
            assert bytes(nbd.read(0, UNIT)) == X * 16


def test_a_stripe_is_fetched_twice(serve: Serve) -> None:
    with serve("stripe-fetched-twice") as server:
        write(server, "v", 0, X * 16)
        snapshot(server, "s")
        numbers = iter(range(1000))

        def turn() -> bool:
            name = f"c{next(numbers)}"
            clone(server, "v@s", name)
            with server.connect(name) as nbd:
                sent = [nbd.send_request(Command.READ, 0, BLOCK), send(nbd, BLOCK, Y)]
                for cookie in sent:
                    nbd.receive_reply(cookie)
                return bytes(nbd.read(BLOCK, BLOCK)) == X

        assert happens(turn)


def test_two_entries_of_a_table(serve: Serve) -> None:
    with serve("clone-table-race") as server:
        write(server, "v", 0, X * 512)
        snapshot(server, "s")
        numbers = iter(range(1000))

        def turn() -> bool:
            name = f"c{next(numbers)}"
            clone(server, "v@s", name)
            with server.connect(name) as nbd:
                sent = [send(nbd, 0, Y), send(nbd, MIB, Y)]
                for cookie in sent:
                    nbd.receive_reply(cookie)
                return X in {bytes(nbd.read(0, BLOCK)), bytes(nbd.read(MIB, BLOCK))}

        assert happens(turn)


def test_a_tail_hides_what_is_behind_it(serve: Serve) -> None:
    with serve("tail-cached-over-growth", size=MIB + 512) as server:
        write(server, "v", MIB, X[:512])
        assert read(server, "v", MIB, 512) == X[:512]
        resize(server, 2 * MIB)
        write(server, "v", MIB + 512, Y)
        assert read(server, "v", MIB) == X[:512] + bytes(BLOCK - 512)
        write(server, "v", MIB, X[:512])
        assert read(server, "v", MIB) == X[:512] + Y[512:]

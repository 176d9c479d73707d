"""Each mutant of sixth_layers.py by its effect."""

from __future__ import annotations

import time

import pytest
from qemu.qmp import ExecuteError

from blockio.layers import Command
from tests.mutants.bench import BLOCK, MIB, UNIT
from tests.mutants.conftest import Serve, remove
from tests.mutants.test_entangled import clone, read, resize, snapshot, write
from tests.mutants.test_sixth_requests import X, Y, happens, send


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

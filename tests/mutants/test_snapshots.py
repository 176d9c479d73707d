"""Each mutant of snapshots.py by its effect."""

from __future__ import annotations

import threading

import pytest

from blockio.layers import Command
from reference_backend.nbd.errors import NbdError
from tests.mutants.conftest import Serve, control, remove
from tests.reference_backend.cli_server import ServerProcess

BLOCK, UNIT, MIB = 4096, 65536, 1 << 20


def snapshot(server: ServerProcess, name: str, of: str = "v") -> None:
    control(server, "volume-snapshot", name=of, snapshot=name)


def clone(server: ServerProcess) -> None:
    control(server, "volume-clone", snapshot="v@s", name="c")


def test_snapshot_map_under_io(serve: Serve) -> None:
    with serve("snapshot-map-under-io") as server, server.connect("v") as nbd:
        missed = False
        for turn in range(10):
            taker = threading.Thread(target=snapshot, args=(server, f"s{turn}"))
            taker.start()
            written = 0
            while taker.is_alive() and written < 32:
                nbd.write((turn * 32 + written) * BLOCK, b"x" * BLOCK)
                nbd.write(1023 * BLOCK, bytes([written]) * BLOCK)
                written += 1
            taker.join()
            with server.connect(f"v@s{turn}") as frozen:
                newest = frozen.read(1023 * BLOCK, 1)[0]
                data = frozen.read(turn * 32 * BLOCK, 32 * BLOCK)
            missed = missed or any(not data[at * BLOCK] for at in range(newest + 1))
        assert missed


def test_snapshot_not_point_in_time(serve: Serve) -> None:
    with serve("snapshot-not-point-in-time") as server, server.connect("v") as nbd:
        nbd.write(0, b"o" * MIB)
        snapshot(server, "s")
        wrong = 0
        with server.connect("v@s") as frozen:
            for block in range(64):
                asked = frozen.send_request(Command.READ, block * BLOCK, BLOCK)
                nbd.write(block * BLOCK, b"n" * BLOCK)
                wrong += frozen.receive_reply(asked).data[0] == ord("n")
            assert bytes(frozen.read(0, 64 * BLOCK)) == b"o" * 64 * BLOCK
            snapshot(server, "later")
            assert bytes(frozen.read(0, 64 * BLOCK)) == b"o" * 64 * BLOCK
        assert wrong


def test_snapshot_delete_shared_block(serve: Serve) -> None:
    with serve("snapshot-delete-shared-block") as server:
        with server.connect("v") as nbd:
            for name in "abc":
                nbd.write("abc".index(name) * MIB, name.encode() * MIB)
                snapshot(server, name)
            remove(server, "v@b")
            nbd.write(0, b"n" * MIB)
        with server.connect("v@a") as first, server.connect("v@c") as last:
            assert bytes(first.read(0, MIB)) == b"a" * MIB
            assert bytes(last.read(MIB, MIB)) == b"n" * MIB


@pytest.mark.parametrize("command", [Command.TRIM, Command.WRITE_ZEROES])
def test_clone_copyup_lost(serve: Serve, command: Command) -> None:
    with serve("clone-copyup-lost") as server, server.connect("v") as nbd:
        nbd.write(0, b"x" * 2 * MIB)
        snapshot(server, "s")
        clone(server)
        with server.connect("c") as copy:
            copy.write(0, b"y")
            copy.call(command, BLOCK, BLOCK)
            assert copy.read(0, 1) + copy.read(2 * BLOCK, 1) == b"yx"
            copy.call(command, MIB, BLOCK)
            assert bytes(copy.read(MIB, MIB)) == bytes(MIB)
        nbd.call(command, MIB, BLOCK)
        assert bytes(nbd.read(MIB + BLOCK, 1)) == b"x"


def test_cross_connection_state(serve: Serve) -> None:
    with serve("cross-connection-state") as server, server.connect("v") as nbd:
        nbd.write(2 * MIB, b"x" * BLOCK)
        snapshot(server, "s")
        control(server, "volume-create", name="small", size=MIB)
        with server.connect("small"):
            assert bytes(nbd.read(2 * MIB, BLOCK)) == bytes(BLOCK)
            nbd.write(2 * MIB, b"y" * BLOCK)
        with server.connect("v@s"), pytest.raises(NbdError, match="read-only"):
            nbd.write(0, b"y")
        with server.connect("v"):
            assert bytes(nbd.read(2 * MIB, BLOCK)) == b"x" * BLOCK


def test_rebuild_granularity_mismatch(serve: Serve) -> None:
    with serve("rebuild-granularity-mismatch") as server, server.connect("v") as nbd:
        nbd.write(0, b"x" * 4 * MIB)
        snapshot(server, "s")
        clone(server)
        with server.connect("c") as copy:
            copy.write(4 * MIB - BLOCK, b"y" * BLOCK)
            assert bytes(copy.read(4 * MIB - UNIT, BLOCK)) == bytes(BLOCK)
            assert bytes(copy.read(3 * MIB, BLOCK)) == b"x" * BLOCK
            snapshot(server, "s", of="c")  # the copy is over
            copy.write(0, b"y" * BLOCK)
            assert bytes(copy.read(BLOCK, BLOCK)) == b"x" * BLOCK


def test_resize_during_copy(serve: Serve) -> None:
    with serve("resize-during-copy") as server, server.connect("v") as nbd:
        nbd.write(0, b"x" * 4 * MIB)
        snapshot(server, "s")
        clone(server)
        for size in (3 * MIB, 4 * MIB):
            control(server, "volume-resize", name="c", size=size)
        with server.connect("c") as copy:
            assert bytes(copy.read(4 * MIB - UNIT, BLOCK)) == b"x" * BLOCK
        for size in (3 * MIB, 4 * MIB):
            control(server, "volume-snapshot", name="c", snapshot=str(size))
            control(server, "volume-resize", name="c", size=size)
        with server.connect("c") as copy:
            assert bytes(copy.read(4 * MIB - UNIT, BLOCK)) == bytes(BLOCK)

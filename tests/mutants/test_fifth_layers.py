"""Each mutant of fifth_layers.py by its effect."""

from __future__ import annotations

import threading

import pytest

from reference_backend.client import Client
from reference_backend.nbd.errors import NbdError
from tests.mutants.bench import BLOCK, MIB
from tests.mutants.conftest import Serve, cut
from tests.mutants.test_entangled import clone, read, resize, snapshot, write
from tests.reference_backend.cli_server import ServerProcess

X, Y, Z = b"x" * BLOCK, b"y" * BLOCK, b"z" * BLOCK
TURNS = 200


def test_a_block_of_zeroes_is_undone_by_a_restart(serve: Serve) -> None:
    with serve("zero-block-reverts-after-restart") as server:
        write(server, "v", 0, X * 512)
        snapshot(server, "s")
        write(server, "v", 0, bytes(MIB))
        write(server, "v", MIB, bytes(MIB - BLOCK))
        with server.connect("v") as nbd:
            nbd.flush()
        assert read(server, "v") == bytes(BLOCK)
        cut(server, 1)
        assert read(server, "v") == X
        assert read(server, "v", MIB) == bytes(BLOCK)


def _both(first: Client, second: Client, server: ServerProcess, name: str) -> bool:
    """Write two parts of a block at the same time; return whether both are there."""
    first.write(0, bytes(BLOCK))
    other = threading.Thread(target=second.write, args=(2048, Y[:512]))
    other.start()
    first.write(0, X[:512])
    other.join()
    return read(server, name) == X[:512] + bytes(1536) + Y[:512] + bytes(1536)


def test_a_part_of_a_block_of_a_clone_is_lost(serve: Serve) -> None:
    with serve("clone-part-writes-race") as server:
        write(server, "v", 0, Z)
        snapshot(server, "s")
        clone(server, "v@s", "c")
        with server.connect("v") as one, server.connect("v") as two:
            assert all(_both(one, two, server, "v") for _ in range(20))
        with server.connect("c") as one, server.connect("c") as two:
            assert not all(_both(one, two, server, "c") for _ in range(TURNS))


def test_a_clone_that_grew_cannot_be_read_at_its_end(serve: Serve) -> None:
    with serve("clone-beyond-parent-fails") as server:
        snapshot(server, "s")
        clone(server, "v@s", "c")
        resize(server, 8 * MIB, "c")
        assert read(server, "c") == bytes(BLOCK)
        with pytest.raises(NbdError):
            read(server, "c", 6 * MIB)
        write(server, "c", 6 * MIB, X)
        assert read(server, "c", 6 * MIB) == X


def test_a_read_of_a_snapshot_shows_a_write(serve: Serve) -> None:
    with serve("snapshot-read-races-write") as server:
        for turn in range(TURNS):
            write(server, "v", 0, X)
            snapshot(server, f"s{turn}")
            with server.connect("v") as nbd, server.connect(f"v@s{turn}") as frozen:
                thread = threading.Thread(target=nbd.write, args=(0, Y))
                thread.start()
                seen = bytes(frozen.read(0, BLOCK))
                thread.join()
                assert bytes(frozen.read(0, BLOCK)) == X
            if seen == Y:
                return
        pytest.fail("no read showed a write")


def test_a_write_to_a_block_that_is_freed_is_lost(serve: Serve) -> None:
    with serve("zeroed-block-freed-under-write") as server:
        with server.connect("v") as one, server.connect("v") as two:
            for _ in range(TURNS):
                one.write(0, X)
                thread = threading.Thread(target=one.write, args=(0, bytes(BLOCK)))
                thread.start()
                two.write(MIB, Y)
                thread.join()
                if bytes(two.read(MIB, BLOCK)) != Y:
                    return
                two.write(MIB, bytes(BLOCK))
        pytest.fail("no write was lost")


def test_two_restarts_undo_a_snapshot(serve: Serve) -> None:
    with serve("reload-loses-exceptions") as server:
        write(server, "v", 0, X)
        write(server, "v", MIB, X)
        snapshot(server, "s")
        with server.connect("v") as nbd:
            nbd.write(0, Y)
            nbd.flush()
        cut(server, 1)
        assert read(server, "v@s") == X
        write(server, "v", MIB, Y)
        assert read(server, "v@s") == X
        with server.connect("v") as nbd:
            nbd.flush()
        cut(server, 2)
        assert read(server, "v@s") != X
        assert read(server, "v@s", MIB) == X


def test_zeroes_behind_all_data_cut_off_a_write(serve: Serve) -> None:
    with serve("zeroes-past-end-truncate") as server:
        with server.connect("v") as one, server.connect("v") as two:
            one.write(0, X)
            for at in range(BLOCK, 512 * BLOCK, 4 * BLOCK):
                thread = threading.Thread(target=one.write_zeroes, args=(at, BLOCK))
                thread.start()
                two.write(at + BLOCK, Y)
                thread.join()
                if bytes(two.read(at + BLOCK, BLOCK)) != Y:
                    return
        pytest.fail("no write was lost")


def test_a_read_shows_what_follows_a_discard(serve: Serve) -> None:
    seen: set[bytes] = set()
    with (
        serve("page-freed-under-read") as server,
        server.connect("v") as one,
        server.connect("v") as two,
    ):

        def reads() -> None:
            seen.update(bytes(two.read(0, BLOCK)) for _ in range(5 * TURNS))

        thread = threading.Thread(target=reads)
        thread.start()
        while thread.is_alive():
            one.write(0, X)
            one.trim(0, BLOCK)
            one.write(MIB, Y)
    assert Y in seen

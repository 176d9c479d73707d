"""Each mutant of the group damages requests of concurrent connections."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from blockio.layers import Command
from reference_backend.client import Client
from tests.mutants.conftest import Serve
from tests.reference_backend.cli_server import ServerProcess


def lost_rounds(server: ServerProcess) -> int:
    """Return in how many rounds one of two concurrent writes to a block is lost."""
    first, second = b"a" * 512, b"b" * 512
    barrier = threading.Barrier(2)
    lost = 0
    with server.connect("v") as one, server.connect("v") as two:

        def write(nbd: Client, offset: int, data: bytes) -> None:
            barrier.wait(10)
            nbd.write(offset, data)

        for _ in range(200):
            one.write_zeroes(0, 4096)
            threads = [
                threading.Thread(target=write, args=(one, 512, first)),
                threading.Thread(target=write, args=(two, 2048, second)),
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(10)
            data = bytes(one.read(0, 4096))
            lost += (data[512:1024], data[2048:2560]) != (first, second)
    return lost


@pytest.mark.parametrize("mutant", ["shared-cursor-race", "unlocked-read-modify-write"])
def test_concurrent_writes_damage_each_other(serve: Serve, mutant: str) -> None:
    with serve(mutant) as server:
        assert lost_rounds(server)
    with serve("control-plain") as server:
        assert lost_rounds(server) == 0


def test_a_write_is_hidden_until_its_own_flush(serve: Serve) -> None:
    with (
        serve("multi-conn-incoherent") as server,
        server.connect("v") as one,
        server.connect("v") as two,
    ):
        one.write(0, b"x" * 512)
        assert bytes(one.read(0, 512)) == b"x" * 512
        two.flush()
        assert bytes(two.read(0, 512)) == bytes(512)
        one.flush()
        assert bytes(two.read(0, 512)) == b"x" * 512


def test_a_write_is_repeated_after_its_client_has_left(serve: Serve) -> None:
    with serve("zombie-write-after-reconnect") as server:
        with server.connect("v") as one:
            one.write(0, b"old" * 512)
        with server.connect("v") as two:
            two.write(4096, b"-")
            two.write(0, b"new" * 512)
            deadline = time.monotonic() + 10
            while bytes(two.read(0, 3)) == b"new" and time.monotonic() < deadline:
                time.sleep(0.01)
            assert bytes(two.read(0, 3)) == b"old"


def test_the_second_of_two_adjacent_writes_is_lost(serve: Serve) -> None:
    with serve("merge-after-issue") as server, server.connect("v") as nbd:
        nbd.write(0, b"a" * 512)
        nbd.write(512, b"b" * 512)
        nbd.write(2048, b"c" * 512)
        assert bytes(nbd.read(0, 2560)) == b"a" * 512 + bytes(1536) + b"c" * 512


def opened(server: ServerProcess) -> socket.socket:
    """Return a silent client, after the server has greeted it or closed the connection."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(server.socket))
    client.settimeout(10)
    return client


def test_unfinished_handshakes_lock_out_other_clients(serve: Serve) -> None:
    with serve("handshake-slowloris") as server, contextlib.ExitStack() as clients:
        for _ in range(63):
            assert clients.enter_context(opened(server)).recv(8) == b"NBDMAGIC"
        with server.connect("v") as nbd:
            nbd.write(0, b"x")
        assert clients.enter_context(opened(server)).recv(8) == b"NBDMAGIC"
        assert clients.enter_context(opened(server)).recv(8) == b""


def test_clients_that_leave_in_the_handshake_keep_their_slots(serve: Serve) -> None:
    with serve("connection-slot-leak") as server:
        for _ in range(256):
            with opened(server) as client:
                assert client.recv(8) == b"NBDMAGIC"
        deadline = time.monotonic() + 10
        greeting = b"NBDMAGIC"
        while greeting and time.monotonic() < deadline:
            with opened(server) as client:
                greeting = client.recv(8)
        assert greeting == b""


def test_the_fourth_large_request_is_never_answered(serve: Serve) -> None:
    with serve("nomem-never-retried") as server, contextlib.ExitStack() as clients:
        large = bytes(100_000)
        many = [clients.enter_context(server.connect("v")) for _ in range(8)]
        with pytest.raises(TimeoutError):
            for _ in range(200):
                asked = [nbd.send_request(Command.WRITE, 0, 100_000, payload=large) for nbd in many]
                for nbd, cookie in zip(many, asked, strict=True):
                    nbd.sock.settimeout(1)
                    nbd.receive_reply(cookie)
        for nbd in many:
            nbd.cut()

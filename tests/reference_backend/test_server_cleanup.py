"""A connection that ends in any way gives back its slot, thread, descriptor and memory."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from blockio.layers import Below, Command, Reply, Request
from reference_backend.client import Client
from reference_backend.nbd import messages as m
from reference_backend.nbd.settings import Limits
from reference_backend.server import Server
from reference_backend.session import Connection, ConnectionInfo

from .running import running, wait_until

MIB = 1 << 20


def connect(server: Server) -> Client:
    return Client.connect(server.address, "vol", timeout_s=10.0)


def is_clean(server: Server) -> bool:
    """Return whether nothing of any connection is left."""
    return (
        server.statistics()["connections"] == 0
        and not server._threads
        and server._service.budget.used == 0
    )


def test_clients_that_leave_within_a_large_payload_free_their_slots() -> None:
    with running(limits=Limits(connections=2)) as server:
        for _ in range(2):
            client = connect(server)
            client.send(m.REQUEST.pack(0x25609513, 0, Command.WRITE, 1, 0, 8 * MIB))
            client.send(bytes(4 * MIB))
            client.sock.close()
        wait_until(lambda: is_clean(server))
        with connect(server) as client:
            assert client.read(0, 1) == b"\0"


class Faulty:
    """A layer with a defect: it raises what no layer may raise."""

    def __init__(self, *, pauses: bool) -> None:
        self.pauses = pauses

    def handle(self, request: Request, below: Below) -> Reply:
        if request.command is Command.FLUSH:
            msg = "a defect"
            raise KeyError(msg)
        return below(request)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("pauses", [False, True])
def test_a_defect_of_a_layer_ends_its_connection_only(pauses: bool) -> None:
    with running(layers=[Faulty(pauses=pauses)]) as server, connect(server) as bystander:
        client = connect(server)
        client.send_request(Command.FLUSH, 0, 0)
        assert client.sock.recv(1) == b""
        client.sock.close()
        wait_until(lambda: server.statistics()["connections"] == 1)
        assert bystander.read(0, 1) == b"\0"


def test_a_connection_that_cannot_be_set_up_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with running() as server:
        with monkeypatch.context() as patch:
            patch.setattr(Connection, "__init__", lambda *_: 1 // 0)
            with pytest.raises(ConnectionResetError):
                Client.open_socket(server.address)
        with connect(server) as client:
            assert client.read(0, 1) == b"\0"


def test_a_connection_that_gets_no_thread_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    with running() as server:
        client = connect(server)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            client.send_request(Command.READ, 0, 1)
            with contextlib.suppress(ConnectionResetError):
                assert client.sock.recv(1) == b""
        client.sock.close()
        wait_until(lambda: is_clean(server))
        with connect(server) as client:
            assert client.read(0, 1) == b"\0"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_observer_that_fails_does_not_keep_the_connection() -> None:
    def observe(info: ConnectionInfo) -> None:
        msg = "a defect"
        raise KeyError(msg)

    with running(on_disconnect=observe) as server:
        client = connect(server)
        client.read(0, 1)
        [connection] = server._connections.values()
        client.sock.close()
        wait_until(lambda: is_clean(server))
        assert connection.sock.fileno() == -1
        with connect(server) as client:
            assert client.read(0, 1) == b"\0"
            server.disconnect_all()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_socket_that_fails_to_close_does_not_keep_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone: list[ConnectionInfo] = []

    def close(sock: socket.socket) -> None:
        sock.close()
        raise ConnectionResetError

    with running(on_disconnect=gone.append) as server:
        monkeypatch.setattr("reference_backend.transport.close", close)
        with connect(server) as client:
            client.read(0, 1)
        wait_until(lambda: is_clean(server) and len(gone) == 1)

"""Hostile clients: each may end only its own connection."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from blockio.layers import Command
from reference_backend.client import Client
from reference_backend.nbd import messages as m
from reference_backend.nbd.constants import OPTION_MAGIC, Option
from reference_backend.nbd.settings import Limits

from .cli_server import ServerProcess
from .running import running, wait_until

MIB = 1 << 20
IDLE_CLIENTS = 10_000


def memory_of(server: ServerProcess) -> int:
    """Return the resident bytes of a server process."""
    return int(psutil.Process(server.process.pid).memory_info().rss)


def peak_of(server: ServerProcess) -> int:
    """Return the most resident bytes that a server process ever had."""
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="utf-8")
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def is_closed(sock: socket.socket, limit_s: float = 5.0) -> bool:
    """Wait for the server to close; False if it does not."""
    sock.settimeout(limit_s)
    try:
        while sock.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def still_served(server: ServerProcess) -> bool:
    with server.connect() as client:
        client.write(0, b"alive")
        return client.read(0, 5) == b"alive"


def test_slow_handshakes_are_ended_and_do_not_hinder_others() -> None:
    with running(limits=Limits(handshake_s=0.5)) as server:
        began = time.monotonic()
        silent = Client.open_socket(server.address, client_flags=None)
        dripping = Client.open_socket(server.address)
        handshake = Client.open_socket(server.address)
        served = Client.connect(server.address, "vol")
        with contextlib.suppress(OSError):
            for byte in m.option(Option.LIST, bytes(200)):
                dripping.send(bytes([byte]))
                assert handshake.opt_list() == ["vol"]
                time.sleep(0.02)
                assert time.monotonic() - began < 3
        for client in (silent, dripping, handshake):
            assert is_closed(client.sock)
            client.sock.close()
        assert 0.4 < time.monotonic() - began < 2.5
        assert served.read(0, 1) == b"\0"
        served.close()


def test_more_connections_than_allowed_are_closed_at_once() -> None:
    with running(limits=Limits(connections=2)) as server:
        first, second = (Client.connect(server.address, "vol") for _ in range(2))
        with pytest.raises(ConnectionResetError):
            Client.open_socket(server.address)
        first.close()
        wait_until(lambda: server.statistics()["connections"] == 1)
        with Client.connect(server.address, "vol") as third:
            assert third.read(0, 1) == b"\0"
        second.close()


@contextlib.contextmanager
def process(*argv: str) -> Iterator[ServerProcess]:
    with ServerProcess("--memory", "256M", *argv, control=False) as server:
        assert still_served(server)
        yield server


def declare(server: ServerProcess, kind: str) -> Client:
    """Open a connection that declares a huge length, and send nothing of it."""
    if kind == "option":
        client = Client.open_socket(str(server.socket))
        client.send(m.OPTION.pack(OPTION_MAGIC, Option.INFO, 0xFFFFFFFF))
    elif kind == "name":
        client = Client.open_socket(str(server.socket))
        client.send(m.option(Option.INFO, m.U32.pack(0xFFFFFFFF) + b"n"))
    elif kind == "write":
        client = server.connect()
        client.send(m.REQUEST.pack(0x25609513, 0, Command.WRITE, 1, 0, 32 * MIB))
    elif kind == "long write":
        client = server.connect()
        client.send(m.REQUEST.pack(0x25609513, 0, Command.WRITE, 1, 0, 0xFFFFFFFF))
    else:
        client = Client.connect(str(server.socket), extended=True)
        client.send(m.EXTENDED_REQUEST.pack(0x21E41C71, 32, Command.WRITE, 1, 0, (1 << 64) - 1))
    return client


def test_huge_declared_lengths_cost_nothing() -> None:
    kinds = ["option", "name", "write", "long write", "extended write"]
    with process() as server:
        before = memory_of(server)
        clients = [declare(server, kind) for kind in kinds for _ in range(20)]
        time.sleep(0.5)
        assert still_served(server)
        assert memory_of(server) - before < 20 * MIB
        for client in clients:
            client.sock.close()


def test_half_sent_large_writes_share_bounded_memory() -> None:
    """Eight clients send 31 of 32 MiB and stop; alone they would take 256 MiB."""
    with process() as server:
        clients = [declare(server, "write") for _ in range(8)]
        part = bytes(MIB)
        for client in clients:
            client.sock.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                for _ in range(31):
                    client.send(part)
        assert memory_of(server) < 200 * MIB
        assert still_served(server)
        for client in clients:
            client.sock.close()
        with server.connect() as client:
            client.write(0, b"w" * 32 * MIB)
            assert client.read(32 * MIB - 1, 2) == b"w\0"


def test_replies_that_are_not_received_share_bounded_memory() -> None:
    with process() as server:
        with server.connect() as client:
            client.write(0, b"d" * 32 * MIB)
        before = memory_of(server)
        clients = [server.connect() for _ in range(8)]
        for client in clients:
            for _ in range(16):
                client.send_request(Command.READ, 0, 32 * MIB)
        time.sleep(1)
        assert memory_of(server) - before < 120 * MIB
        assert still_served(server)
        for client in clients:
            client.sock.close()


def test_a_client_that_takes_no_replies_is_dropped() -> None:
    with (
        running(limits=Limits(stall_s=0.3)) as server,
        Client.connect(server.address, "vol") as client,
    ):
        client.write(0, b"d" * 8 * MIB)
        for _ in range(4):
            client.send_request(Command.READ, 0, 8 * MIB)
        wait_until(lambda: server.statistics()["connections"] == 0)


def test_a_client_that_stalls_within_a_payload_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reference_backend.session.IDLE_S", 0.1)
    with (
        running(limits=Limits(stall_s=0.3)) as server,
        Client.connect(server.address, "vol") as client,
    ):
        client.send(m.REQUEST.pack(0x25609513, 0, Command.WRITE, 1, 0, MIB) + bytes(MIB // 2))
        wait_until(lambda: server.statistics()["connections"] == 0)


def test_ten_thousand_idle_clients_take_less_than_200_mib() -> None:
    """Half of them never finish the handshake, half are in the transmission phase.

    If the system allows fewer open files, number and limit are smaller in proportion.
    """
    most = min(IDLE_CLIENTS, psutil.Process().rlimit(psutil.RLIMIT_NOFILE)[1] - 500)
    with process() as server:
        base = memory_of(server)
        idle: list[socket.socket] = []
        enter = m.CLIENT_FLAGS.pack(3) + m.option(Option.GO, m.info_request(""))
        try:
            for number in range(most):
                sock = socket.socket(socket.AF_UNIX)
                sock.connect(str(server.socket))
                idle.append(sock)
                if number % 2:
                    sock.sendall(enter)
            assert still_served(server)
            used = peak_of(server) - base
            print(f"{used / most:.0f} bytes a client, {most} clients")
            assert used < 150 * MIB * most / IDLE_CLIENTS, f"{used / most:.0f} bytes a client"
            assert peak_of(server) < 200 * MIB
        finally:
            for sock in idle:
                sock.close()


def test_garbage_ends_only_its_own_connection() -> None:
    with process() as server, server.connect() as bystander:
        for garbage in (b"\0" * 4, b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 5000):
            with (
                contextlib.suppress(OSError),
                Client.open_socket(str(server.socket), client_flags=None) as client,
            ):
                client.send(garbage)
                client.send(b"\0" * 28)
                is_closed(client.sock, 0.2)
            client = server.connect()
            client.send(garbage * 7)
            is_closed(client.sock, 0.2)
            client.sock.close()
            assert bystander.read(0, 5) == b"alive"

"""Well-behaved, hostile and vanishing clients run together; afterwards no resource is in use.

``QBD_SOAK_S`` is the length in seconds; the default is short. For an hour:
``QBD_SOAK_S=3600 python -m pytest tests/reference_backend/test_server_soak.py``.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from blockio.layers import Command
from reference_backend.client import Client
from reference_backend.nbd import messages as m
from reference_backend.nbd.constants import REQUEST_MAGIC
from reference_backend.nbd.settings import Limits
from reference_backend.server import Server

from .running import running, volume, wait_until

MIB = 1 << 20
SOAK_S = float(os.environ.get("QBD_SOAK_S", "3"))
AREA = 64 * 1024
"""Bytes that each well-behaved client has for itself."""
WELL_BEHAVED = 3
STALL_S = 1.0 if SOAK_S < 60 else 10.0
"""In a long run a loaded machine may stop a well-behaved client for more than a second."""
LIMITS = Limits(handshake_s=0.5, stall_s=STALL_S, memory=48 * MIB, connections=24)


def connect(server: Server) -> Client:
    return Client.connect(server.address, "vol", timeout_s=20.0)


@contextlib.contextmanager
def vanishing(server: Server) -> Iterator[Client]:
    """Connect; close the socket at the end without the request DISC."""
    client = connect(server)
    try:
        yield client
    finally:
        client.sock.close()


def behave_well(
    server: Server, number: int, random_: random.Random, is_over: Callable[[], bool]
) -> int:
    """Write, read back and compare on one connection after the other; return the rounds."""
    rounds = 0
    while not is_over():
        try:
            client = connect(server)
        except OSError:
            time.sleep(0.01)  # hostile clients have all slots for the moment
            continue
        with client:
            for _ in range(20):
                offset = number * AREA + random_.randrange(0, AREA - 8192, 512)
                data = random_.randbytes(random_.randrange(1, 8192))
                client.write(offset, data)
                assert client.read(offset, len(data)) == data
            assert len(client.read(MIB, 8 * MIB)) == 8 * MIB
        rounds += 1
    return rounds


def send_garbage(server: Server, random_: random.Random) -> None:
    with Client.open_socket(server.address) as client:
        client.send(random_.randbytes(200))


def vanish_in_the_handshake(server: Server, random_: random.Random) -> None:
    with Client.open_socket(server.address, client_flags=None) as client:
        client.send(bytes(random_.randrange(4)))


def vanish_within_a_payload(server: Server, random_: random.Random) -> None:
    length = random_.choice([4096, MIB, 8 * MIB, 32 * MIB])
    with vanishing(server) as client, contextlib.suppress(TimeoutError):
        client.sock.settimeout(0.5)
        client.send(m.REQUEST.pack(REQUEST_MAGIC, 0, Command.WRITE, 1, 16 * MIB, length))
        client.send(bytes(random_.randrange(min(length, 6 * MIB))))


def vanish_before_the_replies(server: Server, random_: random.Random) -> None:
    with vanishing(server) as client:
        for _ in range(random_.randrange(1, 6)):
            client.send_request(Command.READ, 0, random_.choice([512, MIB, 32 * MIB]))
        time.sleep(random_.random() * 0.1)


def take_no_replies(server: Server, random_: random.Random) -> None:
    with vanishing(server) as client:
        for _ in range(5):
            client.send_request(Command.READ, 0, 32 * MIB)
        time.sleep(random_.random() * 2)


HOSTILE = [
    send_garbage,
    vanish_in_the_handshake,
    vanish_within_a_payload,
    vanish_before_the_replies,
    take_no_replies,
]


def state() -> tuple[int, int]:
    """Return how many threads and descriptors this process has."""
    return threading.active_count(), psutil.Process().num_fds()


@pytest.mark.parametrize("seed", [1])
def test_a_mix_of_clients_leaves_nothing_behind(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reference_backend.session.IDLE_S", 0.2)
    with running(volume(), limits=LIMITS) as server:
        with connect(server) as client:
            client.write(0, b"x" * 32 * MIB)
        wait_until(lambda: server.statistics()["connections"] == 0)
        before = state()
        end = time.monotonic() + SOAK_S
        rounds: list[int] = []
        attacks = [0]
        failures: list[BaseException] = []

        def run(work: Callable[[random.Random], None], number: int) -> None:
            try:
                work(random.Random(seed * 1000 + number))
            except BaseException as error:
                failures.append(error)

        def well_behaved(number: int) -> Callable[[random.Random], None]:
            return lambda random_: rounds.append(
                behave_well(server, number, random_, lambda: time.monotonic() > end)
            )

        def hostile(random_: random.Random) -> None:
            while time.monotonic() < end:
                with contextlib.suppress(OSError):
                    random_.choice(HOSTILE)(server, random_)
                    attacks[0] += 1

        work = [well_behaved(number) for number in range(WELL_BEHAVED)] + [hostile] * 5
        threads = [
            threading.Thread(target=run, args=(each, number)) for number, each in enumerate(work)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOAK_S + 60)
        assert not failures
        assert len(rounds) == WELL_BEHAVED
        assert min(rounds) > 0, "a well-behaved client was locked out"
        assert attacks[0] > len(HOSTILE)
        wait_until(lambda: server.statistics()["connections"] == 0, 10.0)
        wait_until(lambda: state() == before, 10.0)
        assert (server._service.budget.used, server._service.budget.waiting) == (0, 0)
        assert not server._threads
        assert len(server._acceptor._by_fd) == 0  # type: ignore[union-attr]
        with contextlib.ExitStack() as open_clients:
            for _ in range(LIMITS.connections):
                open_clients.enter_context(connect(server))
        print(f"{sum(rounds)} rounds, {attacks[0]} hostile clients in {SOAK_S} s")

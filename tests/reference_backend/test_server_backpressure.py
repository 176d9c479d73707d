"""Large requests share a memory budget. No request waits for it without end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest

from blockio.layers import Command
from reference_backend.client import Client
from reference_backend.nbd.errors import NbdError
from reference_backend.nbd.settings import Limits
from reference_backend.server import Server
from reference_backend.transport import MemoryBudget

from .running import running, wait_until

MIB = 1 << 20
MODES = [{"structured": False}, {"structured": True}, {"extended": True}]
LARGEST = 32 * MIB
"""The largest request that the server advertises."""


def connect(server: Server, *, structured: bool = True, extended: bool = False) -> Client:
    return Client.connect(
        server.address, "vol", timeout_s=10.0, structured=structured, extended=extended
    )


def memory_used(server: Server) -> int:
    return server._service.budget.used


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("count", "length"), [(5, LARGEST), (7, 20 * MIB)])
def test_a_client_that_pipelines_large_reads_gets_all_replies(
    mode: dict[str, bool], count: int, length: int
) -> None:
    with running() as server, connect(server, **mode) as client, connect(server) as other:
        other.write(length - 4, b"last")
        cookies = [client.send_request(Command.READ, 0, length) for _ in range(count)]
        assert other.read(0, LARGEST)[length - 4 : length] == b"last"
        for cookie in cookies:
            reply = client.receive_reply(cookie)
            assert not reply.error
            assert reply.data[-4:] == b"last"
        assert len(reply.data) == length
        wait_until(lambda: memory_used(server) == 0)


def test_small_replies_are_sent_before_a_large_read_waits_for_memory() -> None:
    with running(limits=Limits(memory=LARGEST)) as server, connect(server) as client:
        assert server._service.budget.take(LARGEST, 1.0) == LARGEST
        small = client.send_request(Command.READ, 0, 512)
        large = client.send_request(Command.READ, 0, LARGEST)
        client.sock.settimeout(2.0)
        assert client.receive_reply(small).data == bytes(512)
        server._service.budget.give_back(LARGEST)
        assert len(client.receive_reply(large).data) == LARGEST


def hold_all_memory(server: Server) -> list[Client]:
    """Return three clients whose large replies take the whole budget, and who take none of it."""
    with connect(server) as client:
        client.write(0, b"x" * LARGEST)  # or holes would be sent, which need no buffer
    clients = [connect(server) for _ in range(3)]
    for client in clients:
        client.send_request(Command.READ, 0, LARGEST)
    wait_until(lambda: memory_used(server) == 3 * LARGEST)
    return clients


def test_a_read_outlasts_clients_that_take_no_replies() -> None:
    with running(limits=Limits(stall_s=0.5)) as server:
        stalled = hold_all_memory(server)
        with connect(server) as client:
            assert len(client.read(0, LARGEST)) == LARGEST
        wait_until(lambda: memory_used(server) == 0)
        for client in stalled:
            client.sock.close()


@contextlib.contextmanager
def trickling(clients: list[Client]) -> Iterator[None]:
    """Let clients take a few bytes at a time, so that none of them ever stalls."""
    over = threading.Event()

    def trickle() -> None:
        while not over.wait(0.05):
            for client in clients:
                with contextlib.suppress(OSError):
                    client.sock.recv(70_000)

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for client in clients:
            client.sock.close()


def test_a_read_outlasts_clients_that_take_their_replies_too_slowly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reference_backend.session.SLOWEST_BYTES_S", 64 * MIB)
    with running(limits=Limits(stall_s=0.5)) as server:
        slow = hold_all_memory(server)
        with trickling(slow), connect(server) as client:
            assert len(client.read(0, LARGEST)) == LARGEST
            wait_until(lambda: server.statistics()["connections"] <= 3)  # one or more are dropped


def test_a_slow_client_is_kept_while_it_is_fast_enough() -> None:
    with running(limits=Limits(stall_s=0.2)) as server, connect(server) as client:
        client.write(0, b"x" * LARGEST)
        cookie = client.send_request(Command.READ, 0, LARGEST)
        time.sleep(0.1)
        received = bytearray()
        while len(received) < LARGEST // 2:
            received += client.receive(4 * MIB)
            time.sleep(0.1)
        rest = client.receive(LARGEST + 28 - len(received))
        assert cookie
        assert rest[-1:] == b"x"


def test_a_read_that_finds_no_memory_fails_with_enomem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reference_backend.session.SLOWEST_BYTES_S", 1 << 40)
    with running(limits=Limits(stall_s=0.3, memory=LARGEST)) as server, connect(server) as client:
        assert server._service.budget.take(LARGEST, 1.0) == LARGEST
        with pytest.raises(NbdError) as refused:
            client.read(0, LARGEST)
        assert refused.value.errno == 12
        server._service.budget.give_back(LARGEST)
        assert len(client.read(0, LARGEST)) == LARGEST


def test_a_client_that_leaves_while_it_waits_for_memory_frees_its_slot() -> None:
    with running(limits=Limits(memory=LARGEST)) as server:
        assert server._service.budget.take(LARGEST, 1.0) == LARGEST
        with connect(server) as client:
            client.send_request(Command.READ, 0, LARGEST)
            wait_until(lambda: bool(server.query_requests()))
            client.sock.close()
        wait_until(lambda: server.statistics()["connections"] == 0)
        server._service.budget.give_back(LARGEST)


def test_memory_is_granted_in_the_order_of_requests() -> None:
    """Smaller requests that fit do not overtake a large request without limit."""
    budget = MemoryBudget(100)
    first = budget.take(60, 1.0)
    order: list[int] = []

    def take(length: int) -> None:
        taken = budget.take(length, 5.0)
        order.append(length)
        budget.give_back(taken)

    threads = []
    for number, length in enumerate((100, 30, 20), start=1):
        threads.append(threading.Thread(target=take, args=(length,)))
        threads[-1].start()
        wait_until(lambda number=number: budget.waiting == number)  # type: ignore[misc]
    assert order == []
    budget.give_back(first)
    for thread in threads:
        thread.join()
    assert order[0] == 100
    assert (budget.used, budget.waiting) == (0, 0)


def test_a_request_that_times_out_does_not_block_the_next_one() -> None:
    budget = MemoryBudget(100)
    first = budget.take(60, 1.0)
    waiting = threading.Thread(target=lambda: budget.give_back(budget.take(40, 5.0)))

    def give_up() -> None:
        with pytest.raises(TimeoutError, match="no memory for 100 bytes"):
            budget.take(1000, 0.3)

    impatient = threading.Thread(target=give_up)
    impatient.start()
    wait_until(lambda: budget.waiting == 1)
    waiting.start()
    waiting.join(5.0)
    impatient.join(5.0)
    assert not waiting.is_alive()
    assert budget.used == first

"""The server's sockets, connections and counters."""

from __future__ import annotations

import contextlib
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blockio.layers import Below, Command, Reply, Request
from reference_backend.client import Client
from reference_backend.listener import AddressInUse, listen
from reference_backend.nbd.errors import NbdError
from reference_backend.nbd.settings import Bytes
from reference_backend.server import ConnectionInfo, Server
from reference_backend.session import RECEIVE_SIZE
from reference_backend.transport import Send, sender

from .running import SIZE, running, volume, wait_until

MODES = [{"structured": False}, {"structured": True}, {"extended": True}]


def connect(server: Server, **options: object) -> Client:
    return Client.connect(server.address, "vol", **options)  # type: ignore[arg-type]


def test_unix_socket_is_private_and_gone_after_stop() -> None:
    with running() as server:
        path = Path(str(server.address))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


def test_live_socket_is_not_replaced_and_a_stale_one_is(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = listen(path)
    with pytest.raises(AddressInUse, match="listens on"):
        listen(path)
    first.close()
    assert path.exists()
    listen(path).close()
    other = tmp_path / "file"
    other.write_text("precious")
    with pytest.raises(AddressInUse, match="not a socket"):
        listen(other)
    assert other.read_text() == "precious"


def test_wrong_addresses_are_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="longer than 107 bytes"):
        listen(tmp_path / ("x" * 120))
    with listen(("127.0.0.1", 0)) as taken, pytest.raises(AddressInUse, match="cannot listen"):
        listen(("127.0.0.1", taken.getsockname()[1]))


def test_tcp_works_on_both_families() -> None:
    for host in ("127.0.0.1", "::1"):
        server = Server({"vol": volume()}, (host, 0))
        try:
            server.start()
        except OSError:
            assert host == "::1"  # a machine without IPv6
            continue
        with connect(server) as client:
            client.write(5, b"tcp")
            assert client.read(4, 5) == b"\0tcp\0"
        server.stop()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "length", [1, 4096, 65536, RECEIVE_SIZE - 28, RECEIVE_SIZE, RECEIVE_SIZE + 1, 32 << 20]
)
def test_requests_around_the_size_of_the_buffer(mode: dict[str, bool], length: int) -> None:
    content = (b"0123456789abcde" * (length // 15 + 1))[:length]
    with running() as server, connect(server, **mode) as client:
        client.write(3, content)
        assert client.read(3, length) == content
        assert client.read(0, 4) == b"\0\0\0" + content[:1]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from([1, 100, 4096, 70_000, 900_000, 3_000_000]), max_size=12))
def test_pipelined_writes_of_mixed_sizes_all_arrive(sizes: list[int]) -> None:
    with running() as server, connect(server) as client:
        place = 0
        cookies = []
        for number, size in enumerate(sizes):
            data = bytes([number + 1]) * size
            cookies.append(client.send_request(Command.WRITE, place, size, payload=data))
            place += size
        assert [client.receive_reply().cookie for _ in cookies] == cookies
        place = 0
        for number, size in enumerate(sizes):
            assert client.read(place, size) == bytes([number + 1]) * size
            place += size


def test_a_refused_payload_larger_than_the_buffer_is_drained() -> None:
    with running() as server, connect(server) as client:
        length = (32 << 20) + 1
        for offset in (SIZE, 0):
            with pytest.raises(NbdError):
                client.call(Command.WRITE, offset, length, payload=bytes(length))
        assert client.read(0, 4) == bytes(4)


def threads_of_clients() -> int:
    return sum(thread.name.startswith("nbd-") for thread in threading.enumerate()) - 1


def test_an_idle_client_releases_its_thread_and_can_continue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reference_backend.session.IDLE_S", 0.1)
    with running() as server, connect(server) as client:
        for round_ in range(3):
            client.write(round_, b"x")
            assert threads_of_clients() == 1
            wait_until(lambda: threads_of_clients() == 0)
        assert client.read(0, 4) == b"xxx\0"


def test_an_idle_client_keeps_a_part_of_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reference_backend.session.IDLE_S", 0.1)
    with running() as server, connect(server, structured=False) as client:
        whole = b"\x25\x60\x95\x13\0\0\0\1" + bytes(8) + bytes(8) + b"\0\0\0\4" + b"data"
        client.read(0, 1)
        for part in (whole[:13], whole[13:30], whole[30:31]):
            client.send(part)
            wait_until(lambda: threads_of_clients() == 1)
            wait_until(lambda: threads_of_clients() == 0)
        client.send(whole[31:])
        assert client.receive(16) == b"\x67\x44\x66\x98" + bytes(12)
        assert client.read(0, 4) == b"data"


def test_connects_disconnects_and_requests_are_reported() -> None:
    seen: list[tuple[str, ConnectionInfo]] = []
    with running(
        on_connect=lambda info: seen.append(("in", info)),
        on_disconnect=lambda info: seen.append(("out", info)),
    ) as server:
        with connect(server) as client:
            client.write(0, b"1234")
            client.read(0, 3)
            assert [each.export for each in server.connections()] == ["vol"]
        wait_until(lambda: len(seen) == 2)
        with Client.open_socket(server.address) as handshake:
            assert handshake.opt_list() == ["vol"]
        wait_until(lambda: server.statistics()["connections"] == 0)
        counted = server.statistics()
    assert [(kind, info.number, info.export) for kind, info in seen] == [
        ("in", 1, "vol"),
        ("out", 1, "vol"),
    ]
    expected = {"write": 1, "write_bytes": 4, "read": 1, "read_bytes": 3, "connections_total": 2}
    assert expected.items() <= counted.items()


@contextlib.contextmanager
def sent_at_once(client: Client) -> Iterator[None]:
    """Send the small requests of the block by one system call, so that they arrive together."""
    parts: list[Bytes] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "_put", parts.append)  # what send_request sends by
        yield
    assert len(parts) > 1, "nothing was held back"
    client.send(b"".join(parts))


class Holding:
    """Holds writes until ``release`` is set."""

    def __init__(self) -> None:
        self.release = threading.Event()

    def handle(self, request: Request, below: Below) -> Reply:
        if request.command is Command.WRITE:
            self.release.wait(10)
        return below(request)


def test_requests_in_flight_can_be_queried_and_earlier_replies_do_not_wait() -> None:
    layer = Holding()
    with running(layers=[layer]) as server, connect(server) as client:
        with sent_at_once(client):  # the server shows what it has received, not what is on its way
            first = client.send_request(Command.READ, 0, 512)
            second = client.send_request(Command.WRITE, 512, 4, payload=b"held")
            third = client.send_request(Command.READ, 1024, 100)
        client.receive_reply(first)
        wait_until(lambda: len(server.query_requests()) == 2)
        held, queued = server.query_requests()
        assert (held["command"], held["offset"], held["cookie"]) == ("write", 512, second)
        assert (queued["command"], queued["length"], queued["cookie"]) == ("read", 100, third)
        layer.release.set()
        client.receive_reply(second)
        client.receive_reply(third)
        assert client.read(512, 4) == b"held"


def test_a_request_whose_reply_goes_out_is_not_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def observed(sock: socket.socket) -> Send:
        send = sender(sock)

        def look_and_send(parts: list[Bytes]) -> None:
            seen.append(server.query_requests())
            send(parts)

        return look_and_send

    monkeypatch.setattr("reference_backend.session.sender", observed)
    with running() as server, connect(server) as client:
        client.write(0, bytes(4096))
        client.read(0, 4096)
    assert seen == [[], []]


def test_disconnect_all_drops_every_client_and_the_server_continues() -> None:
    with running() as server:
        active, idle = connect(server), connect(server)
        handshake = Client.open_socket(server.address)
        active.write(0, b"a")
        assert server.disconnect_all() == 3
        assert server.statistics()["connections"] == 0
        for client in (active, idle, handshake):
            assert client.sock.recv(100) == b""
            client.sock.close()
        with connect(server) as again:
            assert again.read(0, 1) == b"a"


def test_disconnect_all_waits_for_the_request_that_is_carried_out() -> None:
    layer = Holding()
    with running(layers=[layer]) as server, connect(server) as client:
        client.send_request(Command.WRITE, 0, 4, payload=b"held")
        wait_until(lambda: bool(server.query_requests()))
        threading.Timer(0.2, layer.release.set).start()
        server.disconnect_all()
        assert server.query_requests() == []
        with connect(server) as again:
            assert again.read(0, 4) == b"held"


def test_many_clients_write_at_once_and_see_each_other() -> None:
    def work(number: int) -> None:
        with connect(server) as client:
            for round_ in range(50):
                place = (number * 50 + round_) * 512
                client.write(place, bytes([number + 1]) * 512)
                assert client.read(place, 512) == bytes([number + 1]) * 512

    with running() as server:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with connect(server) as client:
            for number in range(8):
                assert client.read(number * 25600, 25600) == bytes([number + 1]) * 25600


def test_stop_ends_clients_and_may_be_called_twice() -> None:
    with running() as server:
        client = connect(server)
        server.stop()
        assert client.sock.recv(1) == b""
        client.sock.close()
        server.stop()
        with pytest.raises(OSError):  # which one depends on the moment
            connect(server)


def test_nagle_is_off_on_tcp() -> None:
    server = Server({"vol": volume()}, ("127.0.0.1", 0))
    server.start()
    try:
        with connect(server) as client:
            client.read(0, 1)
            [connection] = server._connections.values()
            assert connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    finally:
        server.stop()

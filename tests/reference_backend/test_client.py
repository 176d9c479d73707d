"""The blocking client: addresses, handshake step by step, errors, pipelining."""

from __future__ import annotations

import errno
import socket
import struct
import threading
from pathlib import Path

import pytest

from blockio.layers import Command
from reference_backend.client import Client, parse_uri
from reference_backend.nbd import constants as c
from reference_backend.nbd import messages as m
from reference_backend.nbd.agreement import ReplyMode
from reference_backend.nbd.client_replies import Reply
from reference_backend.nbd.constants import Option, OptionReply, TransmissionFlag
from reference_backend.nbd.errors import NbdError, OptionRefused, RemoteProtocolError
from reference_backend.nbd.settings import Features

from .running import SIZE, running


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("nbd://host", (("host", 10809), "", False)),
        ("nbd://host:77/a%20b/c", (("host", 77), "a b/c", False)),
        ("nbds://[::1]:7/", (("::1", 7), "", True)),
        ("nbd+unix:///vol?socket=/tmp/s", ("/tmp/s", "vol", False)),
        ("nbds+unix:///?socket=/a/b", ("/a/b", "", True)),
    ],
)
def test_uris_are_parsed(uri: str, expected: tuple[object, str, bool]) -> None:
    assert parse_uri(uri) == expected


@pytest.mark.parametrize("uri", ["http://x", "nbd+unix:///vol", "vol", ""])
def test_a_wrong_uri_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="not an NBD URI"):
        parse_uri(uri)


def test_a_uri_connects() -> None:
    with running() as server:
        uri = f"nbd+unix:///vol?socket={server.address}"
        with Client.connect(uri, contexts=["base:allocation"]) as client:
            assert client.size == SIZE
            assert client.mode is ReplyMode.STRUCTURED
            assert client.flags & TransmissionFlag.SEND_FUA
            assert client.block_sizes == (1, 4096, 32 << 20)
            assert client.contexts == {1: "base:allocation"}
            assert client.canonical_name == "vol"


def test_a_long_request_is_split_between_sectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sector that two requests write has a third state after a power cut."""
    sent: list[tuple[int, int, int]] = []
    call = Client.call

    def noted(
        self: Client, command: int, offset: int = 0, length: int = 0, **more: object
    ) -> Reply:
        sent.append((command, offset, length))
        return call(self, command, offset, length, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Client, "call", noted)
    monkeypatch.setattr(Client, "longest", 65536)
    with running() as server, Client.connect(f"nbd+unix:///vol?socket={server.address}") as client:
        data = bytes(range(251)) * 800
        client.write(1000, data)
        assert bytes(client.read(1000, len(data))) == data
        client.write(512, data[:65536])
    writes = [(offset, length) for command, offset, length in sent if command == Command.WRITE]
    assert writes == [(1000, 65048), (66048, 65536), (131584, 65536), (197120, 4680), (512, 65536)]
    reads = [(offset, length) for command, offset, length in sent if command == Command.READ]
    assert reads == writes[:4]


def test_options_go_one_by_one() -> None:
    with running() as server, Client.open_socket(server.address) as client:
        assert client.opt_list() == ["vol"]
        client.opt_info("vol")
        assert client.size == SIZE
        client.opt_structured_reply()
        assert client.opt_list_meta_context("vol") == ["base:allocation", "qbd:dirty"]
        assert client.opt_set_meta_context("vol", ["qbd:dirty"]) == {2: "qbd:dirty"}
        with pytest.raises(OptionRefused, match="ERR_UNSUP") as refused:
            client.option(99, b"anything")
        assert refused.value.reply == OptionReply.ERR_UNSUP
        client.opt_go("vol")
        client.write(0, b"d")
        assert list(client.block_status(0, 4096)) == ["qbd:dirty"]


def test_abort_is_answered_and_then_the_server_closes() -> None:
    with running() as server:
        client = Client.open_socket(server.address)
        client.send_option(Option.ABORT)
        assert client.receive_option_reply().reply == OptionReply.ACK
        assert client.sock.recv(1) == b""
        client.sock.close()


@pytest.mark.parametrize("flags", [0, 1, 2, 3])
def test_export_name_works_with_and_without_zeroes(flags: int) -> None:
    with running() as server, Client.open_socket(server.address, client_flags=flags) as client:
        client.opt_export_name("vol", no_zeroes=bool(flags & 2))
        assert client.size == SIZE
        client.write(0, b"old")
        assert client.read(0, 3) == b"old"


def test_export_name_of_an_unknown_export_closes() -> None:
    with (
        running() as server,
        Client.open_socket(server.address) as client,
        pytest.raises(ConnectionResetError),
    ):
        client.opt_export_name("nothing")


def test_an_unknown_export_is_refused_and_the_socket_closed() -> None:
    with running() as server, pytest.raises(OptionRefused, match="nothing"):
        Client.connect(server.address, "nothing")


@pytest.mark.parametrize(
    ("features", "mode"),
    [
        (Features(extended=False), ReplyMode.STRUCTURED),
        (Features(extended=False, structured=False), ReplyMode.SIMPLE),
    ],
)
def test_headers_fall_back_where_the_server_lacks_them(features: Features, mode: ReplyMode) -> None:
    with (
        running(features=features) as server,
        Client.connect(server.address, "vol", extended=True) as client,
    ):
        assert client.mode is mode
        assert client.read(0, 10) == bytes(10)


def test_headers_are_those_of_the_class_where_arguments_do_not_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with running() as server:
        for mode in ReplyMode:
            monkeypatch.setattr(Client, "headers", mode)
            with Client.connect(server.address, "vol") as client:
                assert client.mode is mode
        with Client.connect(server.address, "vol", structured=False, extended=False) as client:
            assert client.mode is ReplyMode.SIMPLE


def test_errors_carry_errno_and_message() -> None:
    with running() as server, Client.connect(server.address, "vol") as client:
        with pytest.raises(NbdError, match="beyond the end") as failed:
            client.write(SIZE, b"x")
        assert failed.value.errno == errno.ENOSPC
        client.write_zeroes(0, 4096)
        client.trim(0, 4096)
        client.cache(0, 4096)
        client.flush()


def test_pipelined_replies_are_found_by_cookie_in_any_order() -> None:
    with running() as server, Client.connect(server.address, "vol") as client:
        client.write(0, bytes(range(100)))
        cookies = [client.send_request(Command.READ, place, 1) for place in range(100)]
        for place in (99, 0, 50):
            assert client.receive_reply(cookies[place]).data == bytes([place])
        rest = [client.receive_reply().data[0] for _ in range(97)]
        assert sorted(rest) == [n for n in range(100) if n not in (99, 0, 50)]


LONG, MANY = 1 << 20, 6


def _serve_one_by_one(sock: socket.socket, count: int) -> None:
    """Answer each request before the next one is read, as a server with one thread does."""
    with sock.makefile("rb") as requests:
        for _ in range(count):
            _, _, command, cookie, _, length = m.REQUEST.unpack(requests.read(m.REQUEST.size))
            if command == Command.WRITE:
                requests.read(length)
            data = bytes(length) if command == Command.READ else b""
            sock.sendall(m.SIMPLE_REPLY.pack(0x67446698, 0, cookie) + data)


def test_replies_are_received_while_requests_are_sent() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(20)
        server = threading.Thread(target=_serve_one_by_one, args=(theirs, 2 * MANY), daemon=True)
        server.start()
        client = Client(ours)
        reads = [client.send_request(Command.READ, 0, LONG) for _ in range(MANY)]
        payload = b"w" * LONG
        writes = [client.send_request(Command.WRITE, 0, LONG, payload=payload) for _ in reads]
        assert not client.receive_reply(writes[-1]).error
        assert {len(client.receive_reply(cookie).data) for cookie in reads} == {LONG}
        server.join()


def test_a_server_that_reads_nothing_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reference_backend.client._LEAVES_S", 0.05)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.05)
        client = Client(ours)
        client.in_transmission = True
        with pytest.raises(TimeoutError):
            client.send_request(Command.WRITE, 0, 8 * LONG, payload=bytes(8 * LONG))
        ours.settimeout(60)
        client.close()
        assert ours.fileno() == -1


def test_a_server_of_another_protocol_is_a_protocol_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
        accepted.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        handshake = Client(client)
        with pytest.raises(RemoteProtocolError, match="option reply magic"):
            handshake.receive_option_reply()
        accepted.close()
        client.close()


def test_an_option_reply_to_export_name_is_a_protocol_error() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(m.option_reply(Option.EXPORT_NAME, OptionReply.ERR_UNSUP, b""))
        with pytest.raises(RemoteProtocolError, match="EXPORT_NAME got an option reply"):
            Client(ours).opt_export_name("vol", no_zeroes=False)


def test_an_oldstyle_server_serves_its_only_export_at_once(tmp_path: Path) -> None:
    flags = TransmissionFlag.HAS_FLAGS | TransmissionFlag.SEND_FLUSH
    greeting = struct.pack(">QQQHH124x", c.INIT_MAGIC, c.OLDSTYLE_MAGIC, 7 << 20, 0, flags)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        thread = threading.Thread(target=_greet, args=(listening, greeting))
        thread.start()
        client = Client.connect(str(tmp_path / "s"), "any name", contexts=["base:allocation"])
        assert (client.size, client.flags, client.mode) == (7 << 20, flags, ReplyMode.SIMPLE)
        assert client.is_oldstyle
        client.sock.close()
        thread.join()


def _greet(listening: socket.socket, greeting: bytes) -> None:
    accepted, _ = listening.accept()
    with accepted:
        accepted.sendall(greeting)
        assert not accepted.recv(1)  # a client sends nothing in this handshake

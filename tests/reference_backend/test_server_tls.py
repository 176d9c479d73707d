"""TLS between client and server: off, offered, required, and verified."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest

from blockio.layers import Command
from qbdcheck.targets.certificates import Authority
from reference_backend.client import Client
from reference_backend.nbd import messages as m
from reference_backend.nbd.constants import Option, OptionReply
from reference_backend.nbd.errors import OptionRefused
from reference_backend.nbd.settings import Limits, TlsMode
from reference_backend.tls import client_context, server_context

from .running import running, wait_until

MIB = 1 << 20


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directories: server, client, anonymous (only the CA), stranger, expired."""
    root = tmp_path_factory.mktemp("tls")
    ours, theirs = Authority("ours"), Authority("theirs")
    ours.issue(root / "server", "server")
    ours.issue(root / "client", "client")
    ours.issue(root / "expired", "server", days=-3)
    theirs.issue(root / "stranger", "client")
    (root / "anonymous").mkdir()
    (root / "anonymous" / "ca-cert.pem").write_bytes((root / "client/ca-cert.pem").read_bytes())
    return root


@pytest.mark.parametrize("mode", [TlsMode.OFFERED, TlsMode.REQUIRED])
def test_all_commands_work_through_tls(certificates: Path, mode: TlsMode) -> None:
    context = client_context(certificates / "client")
    with (
        running(tls=server_context(certificates / "server"), tls_mode=mode) as server,
        Client.connect(
            server.address, "vol", tls=context, extended=True, contexts=["base:allocation"]
        ) as client,
    ):
        content = bytes(range(256)) * 20_000
        client.write(7, content)
        assert client.read(7, len(content)) == content
        client.flush()
        client.trim(0, 1 << 20)
        assert client.block_status(0, 1 << 20)
        cookies = [client.send_request(0, n, 100) for n in range(20)]
        assert {client.receive_reply().cookie for _ in cookies} == set(cookies)
        assert [info.tls for info in server.connections()] == [True]


def test_an_idle_client_can_continue_through_tls(
    certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reference_backend.session.IDLE_S", 0.1)
    context = client_context(certificates / "client")
    with (
        running(tls=server_context(certificates / "server")) as server,
        Client.connect(server.address, "vol", tls=context) as client,
    ):
        for place in range(3):
            client.write(place, b"x")
            wait_until(lambda: not server._threads)
        assert client.read(0, 4) == b"xxx\0"


def test_plaintext_is_accepted_if_tls_is_offered_and_refused_if_required(
    certificates: Path,
) -> None:
    context = server_context(certificates / "server")
    with running(tls=context) as server, Client.connect(server.address, "vol") as client:
        assert client.read(0, 1) == b"\0"
    with running(tls=context, tls_mode=TlsMode.REQUIRED) as server:
        with pytest.raises(OptionRefused) as refused:
            Client.connect(server.address, "vol", structured=False)
        assert refused.value.reply == OptionReply.ERR_TLS_REQD


def test_no_tls_is_refused_by_policy(certificates: Path) -> None:
    context = client_context(certificates / "client")
    with running() as server, pytest.raises(OptionRefused, match="ERR_POLICY"):
        Client.connect(server.address, "vol", tls=context)


@pytest.mark.parametrize(
    ("who", "let_in"), [("client", True), ("anonymous", False), ("stranger", False)]
)
def test_with_verify_peer_only_certificates_of_the_ca_are_accepted(
    certificates: Path, who: str, let_in: bool
) -> None:
    context = client_context(certificates / who)
    context.load_verify_locations(certificates / "server/ca-cert.pem")
    tls = server_context(certificates / "server", verify_peer=True)
    with running(tls=tls) as server:
        if let_in:
            with Client.connect(server.address, "vol", tls=context) as client:
                assert client.read(0, 1) == b"\0"
        else:
            with pytest.raises(OSError):  # TLS 1.3 reports late: alert or reset
                Client.connect(server.address, "vol", tls=context)
        wait_until(lambda: server.statistics()["connections"] == 0)


def test_the_client_refuses_expired_and_unknown_server_certificates(certificates: Path) -> None:
    for theirs, ours, why in (("expired", "client", "expired"), ("server", "stranger", "verify")):
        with (
            running(tls=server_context(certificates / theirs)) as server,
            pytest.raises(ssl.SSLCertVerificationError, match=why),
        ):
            Client.connect(server.address, "vol", tls=client_context(certificates / ours))


def test_plaintext_behind_starttls_never_reaches_the_options(certificates: Path) -> None:
    """The injected option arrives with STARTTLS in one segment; the session must end."""
    with running(tls=server_context(certificates / "server")) as server:
        client = Client.open_socket(server.address)
        client.send(m.option(Option.STARTTLS) + m.option(Option.STRUCTURED_REPLY))
        with pytest.raises((ConnectionResetError, ssl.SSLError)):
            assert client.receive_option_reply().option == Option.STARTTLS
            context = client_context(certificates / "client")
            client.sock = context.wrap_socket(client.sock, server_hostname="localhost")
        client.sock.close()
        wait_until(lambda: server.statistics()["connections"] == 0)


def test_a_missing_tls_handshake_is_ended_by_the_time_limit(certificates: Path) -> None:
    tls = server_context(certificates / "server")
    with running(tls=tls, limits=Limits(handshake_s=0.3)) as server:
        client = Client.open_socket(server.address)
        client.option(Option.STARTTLS)
        client.sock.settimeout(3)
        assert client.sock.recv(1) == b""
        client.sock.close()


def test_garbage_instead_of_a_tls_handshake_ends_the_connection(certificates: Path) -> None:
    with running(tls=server_context(certificates / "server")) as server:
        client = Client.open_socket(server.address)
        client.option(Option.STARTTLS)
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        client.sock.settimeout(3)
        client.sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: server.statistics()["connections"] == 0)
        client.sock.close()


def test_disc_ends_tls_properly(certificates: Path) -> None:
    """The server shuts TLS down before it closes ("NBD_CMD_DISC"); no truncation is seen."""
    with running(tls=server_context(certificates / "server")) as server:
        context = client_context(certificates / "client")
        client = Client.connect(server.address, "vol", tls=context)
        client.send_request(2)
        assert client.sock.recv(10) == b""
        client.sock.close()


def test_pipelined_large_reads_are_answered_through_tls(certificates: Path) -> None:
    context = client_context(certificates / "client")
    length = 32 << 20
    with (
        running(tls=server_context(certificates / "server")) as server,
        Client.connect(server.address, "vol", tls=context, structured=False) as client,
    ):
        client.write(length - 4, b"last")
        cookies = [client.send_request(0, 0, length) for _ in range(5)]
        for cookie in cookies:
            data = client.receive_reply(cookie).data
            assert len(data) == length
            assert data[-4:] == b"last"


def test_replies_are_received_while_requests_are_sent_through_tls(certificates: Path) -> None:
    """A server with one thread reads on when its reply is taken."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = threading.Thread(
            target=_serve_through_tls,
            args=(theirs, server_context(certificates / "server"), 40),
            daemon=True,
        )
        server.start()
        ours.settimeout(20)
        secure = client_context(certificates / "client").wrap_socket(
            ours, server_hostname="localhost"
        )
        client = Client(secure)
        reads = [client.send_request(Command.READ, 0, MIB) for _ in range(20)]
        payload = b"w" * MIB
        writes = [client.send_request(Command.WRITE, 0, MIB, payload=payload) for _ in reads]
        assert not client.receive_reply(writes[-1]).error
        assert {len(client.receive_reply(cookie).data) for cookie in reads} == {MIB}
        server.join()
        secure.close()


def _serve_through_tls(sock: socket.socket, context: ssl.SSLContext, count: int) -> None:
    with (
        context.wrap_socket(sock, server_side=True) as secure,
        secure.makefile("rb") as requests,
    ):
        for _ in range(count):
            _, _, command, cookie, _, length = m.REQUEST.unpack(requests.read(m.REQUEST.size))
            if command == Command.WRITE:
                requests.read(length)
            data = bytes(length) if command == Command.READ else b""
            secure.sendall(m.SIMPLE_REPLY.pack(0x67446698, 0, cookie) + data)

"""Errors of the client name the request, and what the server did."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from threading import Thread

import pytest

from blockio.layers import Command, CommandFlag
from reference_backend.client import Client
from reference_backend.nbd.client_replies import Request
from reference_backend.nbd.constants import SIMPLE_REPLY_MAGIC
from reference_backend.nbd.errors import NbdError

Answer = Callable[[socket.socket], None]


def client_of(answer: Answer) -> tuple[Client, Thread]:
    """Return a client in the transmission phase, with a peer that gets one request."""
    ours, peer = socket.socketpair()
    ours.settimeout(0.2)
    client = Client(ours)

    def serve() -> None:
        with peer:
            peer.recv(28)
            answer(peer)

    thread = Thread(target=serve)
    thread.start()
    return client, thread


def refuse(peer: socket.socket) -> None:
    peer.sendall(struct.pack(">IIQ", SIMPLE_REPLY_MAGIC, errno.ENOSPC, 1))


def close(peer: socket.socket) -> None:
    peer.shutdown(socket.SHUT_RDWR)


def test_an_error_names_the_request_and_the_errno() -> None:
    client, thread = client_of(refuse)
    with client.sock, pytest.raises(NbdError) as caught:
        client.call(Command.TRIM, 4096, 512, flags=CommandFlag.FUA)
    thread.join()
    assert str(caught.value) == (
        "TRIM of 512 bytes at offset 4096, flags FUA: the server answered ENOSPC"
        " (No space left on device)"
    )
    assert caught.value.errno == errno.ENOSPC


def test_a_closed_connection_names_the_request() -> None:
    client, thread = client_of(close)
    with client.sock, pytest.raises(ConnectionResetError) as caught:
        client.read(8192, 4096)
    thread.join()
    assert str(caught.value) == (
        "READ of 4096 bytes at offset 8192: the server closed the connection without a reply"
    )


def test_silence_names_the_request_and_the_time() -> None:
    ours, peer = socket.socketpair()
    ours.settimeout(0.05)
    client = Client(ours)
    with ours, peer, pytest.raises(TimeoutError) as caught:
        client.flush()
    assert str(caught.value) == "FLUSH: the server sent nothing for 0.05 s"


def test_a_handshake_that_stops_names_the_option() -> None:
    ours, peer = socket.socketpair()
    client = Client(ours)
    with ours:
        client.send_option(7)
        peer.close()
        with pytest.raises(ConnectionError, match="option GO: the server"):
            client.receive(20)


def test_requests_in_words() -> None:
    assert str(Request(1, 99, 0, 0, 512)) == "command 99 of 512 bytes at offset 0"
    unknown = str(Request(1, Command.WRITE, 1 << 14, 0, 0))
    assert unknown == "WRITE of 0 bytes at offset 0, flags 0x4000"

"""Each mutant of the group breaks the protocol or a permission."""

from __future__ import annotations

import contextlib
import socket

import pytest

from reference_backend.nbd.errors import NbdProtocolError
from tests.mutants.conftest import Serve

MIB = 1 << 20
BROKEN = (NbdProtocolError, OSError, EOFError, ValueError)


def test_an_extent_has_length_0(serve: Serve) -> None:
    with serve("malformed-extents") as server, server.connect("v") as nbd, pytest.raises(BROKEN):
        nbd.block_status(0, 4 * MIB)


def test_a_refused_payload_is_read_as_a_request(serve: Serve) -> None:
    with serve("payload-not-drained") as server, server.connect("v") as nbd:
        with pytest.raises(BROKEN):
            nbd.write(4 * MIB, b"x" * 512)
        with pytest.raises(BROKEN):
            nbd.read(0, 512)


def test_the_reply_to_export_name_is_too_long(serve: Serve) -> None:
    with serve("handshake-length-off") as server, socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(server.socket))
        raw.recv(18)
        raw.sendall((3).to_bytes(4, "big") + b"IHAVEOPT" + (1).to_bytes(4, "big")
                    + (1).to_bytes(4, "big") + b"v")  # fmt: skip
        raw.settimeout(5)
        assert len(raw.recv(100)) == 12


def test_a_structured_reply_omits_its_hole(serve: Serve) -> None:
    with serve("structured-read-gap") as server, server.connect("v") as nbd:
        nbd.write(0, b"x" * 65536)
        nbd.write(2 * 65536, b"x" * 65536)
        with pytest.raises(BROKEN):
            nbd.read(0, 3 * 65536)


def test_block_sizes_are_in_the_wrong_byte_order(serve: Serve) -> None:
    with (
        serve("config-byteswapped") as server,
        contextlib.suppress(*BROKEN),
        server.connect("v") as nbd,
    ):
        assert nbd.block_sizes != (1, 4096, 32 * MIB)


def test_abort_kills_the_server(serve: Serve) -> None:
    with serve("probe-or-abort-kills-server") as server, socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(server.socket))
        raw.recv(18)
        raw.sendall((3).to_bytes(4, "big") + b"IHAVEOPT" + (2).to_bytes(4, "big") + bytes(4))
        assert server.process.wait(10) == 70


def test_a_long_name_kills_the_server(serve: Serve) -> None:
    with serve("long-name-smash") as server:
        with contextlib.suppress(*BROKEN):
            server.connect("n" * 300)
        assert server.process.wait(10) == 70


def test_any_name_opens_the_volume(serve: Serve) -> None:
    with serve("wrong-volume-or-lun") as server, server.connect("another") as nbd:
        assert nbd.size == 4 * MIB


def test_a_read_only_export_accepts_writes(serve: Serve) -> None:
    with (
        serve("unadvertised-command-executed", "--read-only") as server,
        server.connect("v") as nbd,
    ):
        nbd.write(0, b"x" * 512)
        assert bytes(nbd.read(0, 512)) == b"x" * 512


def test_a_reply_has_a_wrong_cookie(serve: Serve) -> None:
    with (
        serve("cookie-of-another-request") as server,
        server.connect("v") as nbd,
        pytest.raises(BROKEN),
    ):
        nbd.call(0, 0, 512)

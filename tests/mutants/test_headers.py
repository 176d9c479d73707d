"""Each mutant of the group headers damages replies with several contexts, or long lengths."""

from __future__ import annotations

import pytest

from reference_backend.client import Client
from reference_backend.nbd.errors import NbdError, NbdProtocolError
from tests.mutants.conftest import Serve
from tests.reference_backend.cli_server import ServerProcess

BOTH = ("base:allocation", "qbd:dirty")
GIB = 1 << 30


def connect(server: ServerProcess, *, extended: bool = True) -> Client:
    client = Client.connect(str(server.socket), "v", extended=extended, contexts=BOTH)
    client.sock.settimeout(0.5)
    return client


def test_the_second_context_repeats_the_first(serve: Serve) -> None:
    with serve("contexts-share-flags") as server, connect(server) as nbd:
        found = nbd.block_status(0, 4096)
        assert found[BOTH[0]] == found[BOTH[1]] != []


def test_each_context_ends_the_reply(serve: Serve) -> None:
    with (
        serve("status-done-per-context") as server,
        connect(server) as nbd,
        pytest.raises(NbdProtocolError, match="not in flight"),
    ):
        nbd.block_status(0, 4096)
        nbd.read(0, 512)


def test_a_reply_of_several_contexts_never_ends(serve: Serve) -> None:
    with serve("status-done-missing") as server:
        with connect(server, extended=False) as nbd:
            assert len(nbd.block_status(0, 4096)) == 2
        with connect(server) as nbd, pytest.raises(TimeoutError):
            nbd.block_status(0, 4096)


def test_a_filtered_status_gets_all_contexts(serve: Serve) -> None:
    with serve("payload-filter-ignored") as server, connect(server) as nbd:
        assert len(nbd.block_status(0, 4096, only=BOTH[:1])) == 2


def test_the_length_of_an_extent_wraps(serve: Serve) -> None:
    with serve("extent-32bit-wrap", size=5 * GIB) as server, connect(server) as nbd:
        assert nbd.block_status(0, 5 * GIB)[BOTH[0]][0].length == GIB


def test_a_status_of_almost_4_gib_fails(serve: Serve) -> None:
    with serve("status-length-wrap", size=5 * GIB) as server, connect(server) as nbd:
        assert nbd.block_status(0, 4 * GIB)
        with pytest.raises(NbdError):
            nbd.block_status(0, 4 * GIB - 1)


def test_long_zeroes_wrap(serve: Serve) -> None:
    with serve("zeroes-length-wrap", size=5 * GIB) as server, connect(server) as nbd:
        nbd.write(2 * GIB, b"x" * 4096)
        nbd.write_zeroes(0, 5 * GIB)
        assert any(nbd.read(2 * GIB, 4096))

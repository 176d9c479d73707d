"""Each mutant of greetings.py by its effect."""

from __future__ import annotations

import pytest

from blockio.layers import Command, CommandFlag
from reference_backend.client import Client
from reference_backend.nbd.constants import TransmissionFlag
from reference_backend.nbd.errors import NbdError
from tests.mutants.bench import MIB, Bench
from tests.mutants.conftest import Serve, control
from tests.reference_backend.cli_server import ServerProcess


def handshake(server: ServerProcess) -> Client:
    """Return a client that stopped in the handshake, on a server with the exports v and w."""
    control(server, "volume-create", name="w", size=MIB)
    return Client.open_socket(str(server.socket), timeout_s=5)


def test_list_leaves_the_last_one_out(serve: Serve) -> None:
    with serve("list-omits-last") as server, handshake(server) as nbd:
        assert nbd.opt_list() == ["v"]


def test_go_for_an_unknown_export_ends_the_connection(serve: Serve) -> None:
    with (
        serve("go-error-ends-handshake") as server,
        handshake(server) as nbd,
        pytest.raises(ConnectionError),
    ):
        nbd.opt_go("unknown")


def test_the_exact_maximum_fails() -> None:
    bench = Bench("exact-maximum-refused", 64 * MIB)
    bench.read(0, 32 * MIB - 1)
    with pytest.raises(Exception, match="too long"):
        bench.read(0, 32 * MIB)


def test_a_read_only_export_is_not_marked(serve: Serve) -> None:
    with serve("read-only-not-advertised", "--read-only") as server, server.connect("v") as nbd:
        assert not nbd.flags & TransmissionFlag.READ_ONLY


def test_df_is_ignored(serve: Serve) -> None:
    with serve("dont-fragment-ignored") as server, server.connect("v") as nbd:
        nbd.write(0, b"x" * 65536)
        cookie = nbd.send_request(Command.READ, 0, 131072, flags=CommandFlag.DF)
        reply = nbd.receive_reply(cookie)
        assert len(reply.chunks) > 1


def test_an_error_text_has_foreign_data(serve: Serve) -> None:
    with serve("error-text-leaks-data") as server, server.connect("v") as nbd:
        nbd.write(0, b"secret" + bytes(506))
        with pytest.raises(NbdError, match="secret"):
            nbd.read(4 * MIB, 512)


def test_a_long_hint_ends_the_server(serve: Serve) -> None:
    with serve("cache-length-kills", size=128 * MIB) as server, server.connect("v") as nbd:
        nbd.cache(0, 32 * MIB)
        with pytest.raises(ConnectionError):
            nbd.cache(0, 64 * MIB)

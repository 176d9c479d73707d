"""Each mutant of the group depth damages a flush, a refused request, or shows another's bytes."""

from __future__ import annotations

import contextlib

import pytest

from blockio.layers import Command
from reference_backend.client import Client
from reference_backend.nbd.constants import Option
from reference_backend.nbd.errors import NbdError
from tests.mutants.conftest import Serve, control, cut

KIB = 1 << 10
X = b"x" * 4 * KIB


def lost_blocks(serve: Serve, mutant: str, large: int) -> list[int]:
    """Write 70 blocks and flush; block `large` is longer. Return those that some cut loses."""
    lost = set()
    for seed in range(4):
        with serve(mutant) as server:
            with server.connect("v") as nbd:
                for number in range(70):
                    nbd.write(number * 32 * KIB, X * (5 if number == large else 1))
                nbd.flush()
            cut(server, seed)
            with server.connect("v") as nbd:
                lost |= {n for n in range(70) if bytes(nbd.read(n * 32 * KIB, len(X))) != X}
    return sorted(lost)


def test_a_flush_covers_64_writes(serve: Serve) -> None:
    assert lost_blocks(serve, "flush-covers-last-64", -1) == list(range(6))


def test_a_flush_skips_a_large_write(serve: Serve) -> None:
    assert lost_blocks(serve, "flush-skips-large-at-depth", 33) == [33]


def test_the_write_after_a_shortage_is_lost(serve: Serve) -> None:
    with serve("shortage-loses-neighbour") as server, server.connect("v") as nbd:
        rule = {"event": "none", "iotype": "write", "errno": "ENOMEM", "once": True}
        control(server, "rule-add", **rule)
        with pytest.raises(NbdError):
            nbd.write(0, X)
        nbd.write(4 * KIB, X)
        nbd.write(8 * KIB, X)
        assert bytes(nbd.read(0, 12 * KIB)) == bytes(8 * KIB) + X


def test_the_part_within_the_volume_is_written(serve: Serve) -> None:
    with serve("refused-write-partial") as server, server.connect("v") as nbd:
        with pytest.raises(NbdError):
            nbd.write(nbd.size - 2 * KIB, X)
        assert bytes(nbd.read(nbd.size - 2 * KIB, 2 * KIB)) == X[: 2 * KIB]


def test_zeroes_with_an_unknown_flag_are_written(serve: Serve) -> None:
    with serve("refused-flag-executed") as server, server.connect("v") as nbd:
        nbd.write(0, X)
        with pytest.raises(NbdError):
            nbd.call(Command.WRITE_ZEROES, 0, 512, flags=1 << 13)
        assert not any(nbd.read(0, 512))


def plant(server: object, secret: bytes) -> None:
    with Client.open_socket(str(server.socket)) as other, contextlib.suppress(Exception):  # type: ignore[attr-defined]
        other.option(Option.INFO, secret)


def test_an_error_ends_with_the_bytes_of_another(serve: Serve) -> None:
    with serve("error-text-of-another") as server:
        plant(server, b"secret" * 20)
        with Client.open_socket(str(server.socket)) as client:
            client.send_option(0x7101)
            assert b"secretsecret" in client.receive_option_reply().data


def test_the_padding_is_of_another(serve: Serve) -> None:
    with serve("padding-of-another") as server:
        plant(server, b"secret" * 20)
        with Client.open_socket(str(server.socket), client_flags=1) as client:
            client.send_option(Option.EXPORT_NAME, b"v")
            assert b"secretsecret" in client.receive(10 + 124)

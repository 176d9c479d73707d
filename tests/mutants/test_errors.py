"""Each mutant of the group loses, changes or makes up an error."""

from __future__ import annotations

import errno

import pytest

MIB = 1 << 20


def failure(nbd) -> int:
    """The errno of a write behind the end."""
    with pytest.raises(OSError) as caught:
        nbd.write(4 * MIB, bytes(512))
    return caught.value.errno


def test_the_right_backend_says_enospc(serve) -> None:
    with serve("control-plain") as server, server.connect("v") as nbd:
        assert failure(nbd) == errno.ENOSPC


def test_an_error_is_lost(serve) -> None:
    with serve("async-error-ignored") as server, server.connect("v") as nbd:
        nbd.write(4 * MIB, bytes(512))


def test_every_error_is_eio(serve) -> None:
    with serve("errno-collapsed") as server, server.connect("v") as nbd:
        assert failure(nbd) == errno.EIO


def test_an_error_ends_the_connection(serve) -> None:
    with serve("error-kills-connection") as server, server.connect("v") as nbd:
        with pytest.raises((OSError, EOFError)):
            nbd.write(4 * MIB, bytes(512))
        with pytest.raises((OSError, EOFError)):
            nbd.read(0, 512)


@pytest.mark.parametrize(
    ("mutant", "request_of"),
    [
        ("transient-becomes-fatal", lambda nbd: nbd.read(0, 512)),
        ("advertised-not-implemented", lambda nbd: nbd.write_zeroes(0, 512)),
        ("flush-fails", lambda nbd: nbd.flush()),
    ],
)
def test_an_error_is_made_up(serve, mutant, request_of) -> None:
    with serve(mutant) as server, server.connect("v") as nbd, pytest.raises(OSError):
        request_of(nbd)

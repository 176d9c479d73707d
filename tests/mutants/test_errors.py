"""Each mutant of the group loses, changes or invents an error."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from blockio.layers import CommandFlag
from reference_backend.client import Client
from tests.mutants.conftest import Serve, control
from tests.reference_backend.cli_server import ServerProcess

MIB = 1 << 20


def failure(nbd: Client) -> int | None:
    """Return the errno of a write behind the end."""
    with pytest.raises(OSError) as caught:
        nbd.write(4 * MIB, bytes(512))
    return caught.value.errno


def test_the_right_backend_reports_enospc(serve: Serve) -> None:
    with serve("control-plain") as server, server.connect("v") as nbd:
        assert failure(nbd) == errno.ENOSPC


def test_an_error_is_lost(serve: Serve) -> None:
    with serve("async-error-ignored") as server, server.connect("v") as nbd:
        nbd.write(4 * MIB, bytes(512))


def test_every_error_is_eio(serve: Serve) -> None:
    with serve("errno-collapsed") as server, server.connect("v") as nbd:
        assert failure(nbd) == errno.EIO


def test_an_error_ends_the_connection(serve: Serve) -> None:
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
def test_an_error_is_made_up(
    serve: Serve, mutant: str, request_of: Callable[[Client], object]
) -> None:
    with serve(mutant) as server, server.connect("v") as nbd, pytest.raises(OSError):
        request_of(nbd)


def query(server: ServerProcess) -> dict[str, int]:
    """Return the counts of the rule."""
    counts = control(server, "query-rules")["rules"][0]
    return {key: counts[key] for key in ("events", "matches", "fired")}


def test_errors_of_rules_reach_a_mutant(serve: Serve) -> None:
    with serve("missing-object-zero-fill") as server, server.connect("v") as nbd:
        nbd.write(0, b"x" * 512)
        control(server, "rule-add", event="read_aio", iotype="read", errno="EIO", id="bad")
        assert bytes(nbd.read(0, 512)) == bytes(512)
        assert query(server) == {"events": 1, "matches": 1, "fired": 1}


def test_rules_do_not_see_a_write_that_a_mutant_drops(serve: Serve) -> None:
    with serve("phantom-write") as server, server.connect("v") as nbd:
        control(server, "rule-add", event="write_aio", iotype="write", errno="EIO", id="bad")
        nbd.write(0, b"x" * 512)
        assert query(server) == {"events": 0, "matches": 0, "fired": 0}


def test_rules_do_not_see_the_additional_requests_of_a_control(serve: Serve) -> None:
    with serve("control-fua-flushes") as server, server.connect("v") as nbd:
        control(server, "rule-add", event="flush_to_disk", iotype="flush", errno="EIO", id="bad")
        nbd.write(0, b"x" * 512, CommandFlag.FUA)
        assert query(server) == {"events": 0, "matches": 0, "fired": 0}

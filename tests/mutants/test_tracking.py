"""Each mutant of the group tracking gives a block status that misses a change."""

from __future__ import annotations

from reference_backend.client import Client
from tests.mutants.conftest import Serve, control
from tests.reference_backend.cli_server import ServerProcess

KIB = 1 << 10
X = b"x" * 4 * KIB


def flags(nbd: Client, offset: int, length: int, name: str = "base:allocation") -> int:
    return nbd.block_status(offset, length)[name][0].flags


def tracked(server: ServerProcess) -> Client:
    control(server, "volume-snapshot", name="v", snapshot="s")
    return Client.connect(str(server.socket), "v", contexts=["qbd:dirty"])


def test_each_connection_has_its_cache(serve: Serve) -> None:
    with (
        serve("status-cached-per-connection") as server,
        server.connect("v") as one,
        server.connect("v") as other,
    ):
        assert flags(one, 0, 4 * KIB) == 3
        other.write(0, X)
        assert flags(other, 0, 4 * KIB) == 0
        assert flags(one, 0, 4 * KIB) == 3
        one.write(0, X)
        assert flags(one, 0, 4 * KIB) == 0


def test_a_change_that_begins_before_a_range_is_missed(serve: Serve) -> None:
    with serve("status-cache-misses-overlap") as server, server.connect("v") as nbd:
        for offset in (4 * KIB, 16 * KIB):
            assert flags(nbd, offset, 4 * KIB) == 3
        nbd.write(0, X * 2)
        nbd.write(16 * KIB, X)
        assert flags(nbd, 4 * KIB, 4 * KIB) == 3
        assert flags(nbd, 16 * KIB, 4 * KIB) == 0


def test_zeroes_inside_a_granule_make_it_clean(serve: Serve) -> None:
    with serve("dirty-cleared-by-zero") as server, tracked(server) as nbd:
        nbd.write(0, X * 2)
        nbd.write_zeroes(512, 512)
        assert flags(nbd, 0, 4 * KIB, "qbd:dirty") == 0
        assert flags(nbd, 4 * KIB, 4 * KIB, "qbd:dirty") == 1


def test_a_status_inside_a_granule_calls_its_rest_clean(serve: Serve) -> None:
    with serve("dirty-slice-starts-clean") as server, tracked(server) as nbd:
        nbd.write(0, X * 2)
        assert flags(nbd, 0, 8 * KIB, "qbd:dirty") == 1
        assert flags(nbd, 512, 4 * KIB, "qbd:dirty") == 0

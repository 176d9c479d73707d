"""Each mutant of the group loses, repeats or changes data."""

from __future__ import annotations

from tests.mutants.conftest import Serve


def test_a_write_is_lost(serve: Serve) -> None:
    with serve("phantom-write") as server, server.connect("v") as nbd:
        nbd.write(0, b"x" * 512)
        assert bytes(nbd.read(0, 512)) == bytes(512)


def test_one_client_does_not_see_the_write_of_another(serve: Serve) -> None:
    with (
        serve("per-client-cache-stale") as server,
        server.connect("v") as one,
        server.connect("v") as two,
    ):
        assert bytes(one.read(0, 4096)) == bytes(4096)
        two.write(0, b"x" * 4096)
        assert bytes(two.read(0, 4096)) == b"x" * 4096
        assert bytes(one.read(0, 4096)) == bytes(4096)
        one.write(0, b"y" * 4096)
        assert bytes(one.read(0, 4096)) == b"y" * 4096


def test_a_stored_bit_flips(serve: Serve) -> None:
    with serve("silent-bit-flip") as server, server.connect("v") as nbd:
        nbd.write(0, bytes(512))
        assert sum(map(int.bit_count, nbd.read(0, 512))) == 1


def test_a_bit_flips_on_its_way_to_the_client(serve: Serve) -> None:
    with serve("transient-bit-flip") as server, server.connect("v") as nbd:
        assert sum(map(int.bit_count, nbd.read(0, 512))) == 1


def test_a_read_returns_the_previous_data(serve: Serve) -> None:
    with serve("stale-replica-after-failover") as server, server.connect("v") as nbd:
        nbd.write(0, b"a" * 4096)
        nbd.write(0, b"b" * 4096)
        assert bytes(nbd.read(0, 4096)) == b"a" * 4096

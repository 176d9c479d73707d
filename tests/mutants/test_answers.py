"""Each mutant of answers.py by its effect."""

from __future__ import annotations

from blockio.layers import CommandFlag
from reference_backend.client import Client
from tests.mutants.bench import BLOCK, MIB, Bench
from tests.mutants.conftest import Serve, control
from tests.reference_backend.cli_server import ServerProcess

X = b"x" * BLOCK


def test_data_is_merged_with_the_zeroes_before_it() -> None:
    bench = Bench("status-merged-by-hole-bit")
    bench.zero(0, BLOCK, CommandFlag.NO_HOLE)
    bench.write(BLOCK, X)
    assert bench.flags(0, 2 * BLOCK) == [(2 * BLOCK, 2)]
    assert bench.flags(BLOCK, BLOCK) == [(BLOCK, 0)]


def test_the_tail_is_a_hole() -> None:
    bench = Bench("status-tail-is-hole")
    bench.write(0, X * 2)
    assert bench.flags(0, BLOCK + 512) == [(BLOCK, 0), (512, 3)]
    assert bench.flags(0, 2 * BLOCK) == [(2 * BLOCK, 0)]


def test_what_does_not_fit_is_a_hole() -> None:
    bench = Bench("status-overflow-is-hole")
    for number in range(40):
        bench.write(number * 2 * BLOCK, X)
    found = bench.flags(0, 80 * BLOCK)
    assert len(found) == 33
    assert found[-1] == (48 * BLOCK, 3)


def test_dirty_ranges_are_cleared_by_asking() -> None:
    bench = Bench("dirty-cleared-by-asking")
    bench.volume.checkpoint()
    bench.write(0, X)
    assert bench.flags(0, 2 * BLOCK, "qbd:dirty") == [(BLOCK, 1), (BLOCK, 0)]
    assert bench.flags(0, 2 * BLOCK, "qbd:dirty") == [(2 * BLOCK, 0)]
    bench.write(0, X)
    assert bench.flags(0, BLOCK, "qbd:dirty") == [(BLOCK, 1)]


def tracked(server: ServerProcess) -> Client:
    control(server, "volume-snapshot", name="v", snapshot="s")
    return Client.connect(str(server.socket), "v", contexts=["qbd:dirty"])


def dirty(nbd: Client, offset: int) -> int:
    return nbd.block_status(offset, BLOCK)["qbd:dirty"][0].flags


def test_the_last_granule_of_a_write_stays_clean(serve: Serve) -> None:
    with serve("dirty-end-rounded-down") as server, tracked(server) as nbd:
        nbd.write(0, X + X[:512])
        assert [dirty(nbd, at) for at in (0, BLOCK)] == [1, 0]
        nbd.write(BLOCK, X[:512])
        assert dirty(nbd, BLOCK) == 1


def test_the_first_of_many_ranges_is_forgotten(serve: Serve) -> None:
    with serve("dirty-ranges-dropped") as server, tracked(server) as nbd:
        for number in range(65):
            nbd.write(MIB + number * 2 * BLOCK, X)
        assert [dirty(nbd, at) for at in (MIB, MIB + 2 * BLOCK)] == [0, 1]

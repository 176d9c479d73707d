"""Each mutant of replication.py by its effect."""

from __future__ import annotations

from tests.mutants.bench import BLOCK, UNIT, Bench


def test_the_first_write_of_a_client_misses_a_copy() -> None:
    bench = Bench("new-client-misses-replica")
    bench.write(0, b"x" * BLOCK)
    bench.write(BLOCK, b"y" * BLOCK)
    assert [bench.read(0, BLOCK)[:1] for _ in range(4)] == [b"x", b"x", b"x", b"\0"]
    assert [bench.read(BLOCK, BLOCK)[:1] for _ in range(4)] == [b"y"] * 4


def test_a_long_read_has_stripes_of_a_lagging_copy() -> None:
    bench = Bench("striped-read-is-torn")
    bench.write(0, b"x" * 2 * UNIT)
    assert bench.read(0, 2 * UNIT) == b"x" * UNIT + bytes(UNIT)
    assert bench.read(0, 2 * UNIT) == b"x" * 2 * UNIT

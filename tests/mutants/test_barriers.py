"""Each mutant of barriers.py: flags that are lost, and data after a power cut."""

from __future__ import annotations

from blockio.layers import Command, CommandFlag
from tests.mutants.bench import BLOCK, KIB, MIB, UNIT, Bench
from tests.mutants.conftest import Serve, cut

FUA = CommandFlag.FUA


def test_fua_is_lost() -> None:
    part = Bench("fua-lost-on-part-block")
    part.write(512, b"x" * 512, FUA)
    part.write(0, b"x" * BLOCK, FUA)
    assert part.seen == [(Command.WRITE, 0), (Command.WRITE, FUA)]
    merged = Bench("fua-lost-in-merge")
    merged.write(0, b"x" * 512)
    merged.write(512, b"x" * 512, FUA)
    merged.write(1024, b"x" * 512, FUA)
    assert [flags for _, flags in merged.seen] == [0, 0, FUA]
    first = Bench("fua-without-map")
    first.write(0, b"x" * 512, FUA)
    first.write(512, b"x" * 512, FUA)
    first.trim(0, UNIT)
    first.write(0, b"x" * 512, FUA)
    writes = [flags for command, flags in first.seen if command is Command.WRITE]
    assert writes == [0, FUA, 0]


def test_flushes_are_dropped() -> None:
    other = Bench("flush-of-other-queue")
    other.write(0, b"x" * 512, connection=1)
    other.flush(connection=2)
    assert (Command.FLUSH, 0) not in other.seen
    other.flush(connection=1)
    assert (Command.FLUSH, 0) in other.seen
    tail = Bench("flush-leaves-tail-page")
    tail.write(0, b"x" * 100)
    tail.flush()
    assert (Command.FLUSH, 0) not in tail.seen
    tail.write(0, b"x" * 512)
    tail.flush()
    assert (Command.FLUSH, 0) in tail.seen


def lost(serve: Serve, mutant: str, at: int, length: int, fua: bool) -> bool:
    """Return whether a part of a write that must be durable is lost in one of 12 power cuts."""
    found = False
    with serve(mutant, size=32 * MIB) as server:
        for seed in range(12):
            with server.connect("v") as nbd:
                nbd.write(at, b"o" * length)
                nbd.flush()
                nbd.write(0, b"x" * 512, FUA)
                nbd.write(at, b"n" * length, FUA if fua else 0)
                if not fua:
                    nbd.flush()
                cut(server, seed)
            with server.connect("v") as nbd:
                found = found or bytes(nbd.read(at, length)) != b"n" * length
    return found


def test_a_part_is_not_durable(serve: Serve) -> None:
    assert lost(serve, "fua-first-part-only", 4 * KIB, 128 * KIB, fua=True)
    assert not lost(serve, "fua-first-part-only", 4 * KIB, 64 * KIB, fua=True)
    assert lost(serve, "flush-of-first-part", 20 * MIB, 4 * KIB, fua=False)
    assert not lost(serve, "flush-of-first-part", 2 * MIB, 4 * KIB, fua=False)

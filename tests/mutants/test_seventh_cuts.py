"""Each mutant of seventh_cuts.py by its effect."""

from __future__ import annotations

from blockio.layers import CommandFlag
from reference_backend.client import Client
from tests.mutants.bench import BLOCK, KIB, MIB, UNIT
from tests.mutants.conftest import Serve, cut
from tests.mutants.test_entangled import read, snapshot
from tests.mutants.test_sixth_cuts import durable
from tests.mutants.test_sixth_requests import X, Y, Z
from tests.reference_backend.cli_server import ServerProcess

OBJECT = 128 * KIB
SEEDS = range(1, 30)


def fua(nbd: Client, offset: int, data: bytes) -> None:
    """Write with FUA."""
    nbd.write(offset, data, CommandFlag.FUA)


def test_deletions_are_not_flushed(serve: Serve) -> None:
    with serve("flush-forgets-deletions") as server:

        def is_back(also: bool, seed: int) -> bool:
            durable(server, 0, X * 32)
            with server.connect("v") as nbd:
                nbd.trim(0, OBJECT)
                if also:
                    nbd.write(MIB, Z)
                nbd.flush()
            cut(server, seed)
            return any(read(server, "v", 0, OBJECT))

        assert any(is_back(False, seed) for seed in SEEDS)
        assert not any(is_back(True, seed) for seed in SEEDS)


def test_what_was_evicted_is_a_hole(serve: Serve) -> None:
    with serve("evicted-is-hole-after-cut", size=16 * MIB) as server:
        durable(server, 0, X)
        durable(server, UNIT, Y)
        durable(server, MIB, Z * 2048)
        assert read(server, "v") == X
        cut(server, 1)
        assert read(server, "v") == X
        assert read(server, "v", UNIT) == bytes(BLOCK)
        assert read(server, "v", 9 * MIB - BLOCK) == Z


def test_a_line_of_a_cache_is_back(serve: Serve) -> None:
    with serve("fua-hit-revived-by-cut") as server:
        for flushes, expected in ((False, X), (True, Y)):
            durable(server, 0, X)
            with server.connect("v") as nbd:
                nbd.read(0, BLOCK)
                nbd.read(BLOCK, BLOCK)
                fua(nbd, 0, Y)
                if flushes:
                    nbd.flush()
            cut(server, 1)
            assert read(server, "v") == expected


def is_lost(server: ServerProcess, offset: int, data: bytes, seed: int) -> bool:
    """Write with FUA, cut the power, and return whether the write is lost."""
    with server.connect("v") as nbd:
        fua(nbd, offset, data)
    cut(server, seed)
    return read(server, "v", offset, len(data)) != data


def test_a_whole_shared_block_is_volatile(serve: Serve) -> None:
    with serve("fua-over-shared-volatile") as server:
        durable(server, 0, X * 32)
        assert not any(is_lost(server, 0, Y * 16, seed) for seed in SEEDS)
        names = iter("abcdefghijklmnopqrstuvwxyzABCD")

        def turn(seed: int) -> bool:
            durable(server, 0, X * 32)
            snapshot(server, next(names))
            return is_lost(server, 0, Y * 16, seed)

        assert any(turn(seed) for seed in SEEDS)
        assert not any(is_lost(server, UNIT, Y * 8, seed) for seed in SEEDS)


def test_the_top_of_an_extent_is_lost(serve: Serve) -> None:
    with serve("reload-drops-extent-top") as server:
        durable(server, 0, X * 4)
        durable(server, BLOCK, Y)
        durable(server, 3 * BLOCK, Z)
        assert read(server, "v", 0, 4 * BLOCK) == X + Y + X + Z
        cut(server, 1)
        assert read(server, "v", 0, 4 * BLOCK) == X + Y + bytes(BLOCK) + Z

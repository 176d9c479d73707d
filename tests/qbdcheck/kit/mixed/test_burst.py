"""Bursts: a right server is never accused, one that loses a write is, and styles fit a volume."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from blockio.layers import Command
from mutants.catalogue import catalogue, layer_argument
from oracles.shadow import Shadow
from qbdcheck.kit.mixed.burst import Burst
from qbdcheck.kit.mixed.style import drawn
from qbdcheck.kit.nbd_io import NbdIo
from qbdcheck.targets.disk_io import WrongData
from reference_backend.client import Client
from tests.mutants.conftest import Server

SIZE = 12 << 20
OFFERED = dict.fromkeys(set(Command) - {Command.DISC, Command.BLOCK_STATUS}, True)


@contextmanager
def connections(*layer: str) -> Iterator[list[NbdIo]]:
    """Yield two connections to a volume."""
    with Server("--memory", str(SIZE), "--export-name", "v", *layer) as server:
        shadow = Shadow(SIZE)
        clients = [Client.connect(str(server.socket), "v") for _ in "12"]
        ios = [NbdIo(one, shadow, f"connection {number}") for number, one in enumerate(clients)]
        try:
            yield ios
        finally:
            for io in ios:
                io.close()


def play(ios: list[NbdIo], rounds: int, seed: int) -> set[tuple[int, int]]:
    """Send bursts, read everything, and return the places that were changed."""
    chance = random.Random(seed)
    touched: set[tuple[int, int]] = set()
    for _ in range(rounds):
        burst = Burst(ios, chance, [chance.randbytes(4096)])
        burst.run(drawn(chance, SIZE, OFFERED, None))
        touched.update(burst.touched)
        for start in range(0, SIZE, 1 << 20):
            ios[0].read(start, 1 << 20)
    return touched


@pytest.mark.parametrize("seed", range(3))
def test_a_right_server_is_not_accused(seed: int) -> None:
    with connections() as ios:
        assert len(play(ios, 30, seed)) > 100


def test_a_write_that_is_lost_is_found() -> None:
    known = catalogue()["first-part-writes-zero-each-other"]
    with (
        connections("--layer", f"{layer_argument(known)}:rate=1") as ios,
        pytest.raises(WrongData),
    ):
        play(ios, 400, 1)


def test_styles_fit_small_volumes() -> None:
    chance = random.Random(1)
    for size in (4096, 70_000, SIZE):
        for hot in (None, 0, size // 2, size):
            style = drawn(chance, size, OFFERED, hot)
            assert 0 <= style.low <= style.low + style.span <= size
            assert style.commands and min(style.lengths) > 0

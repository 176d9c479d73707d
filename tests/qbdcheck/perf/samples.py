"""Samples for tests, with values that a random generator scatters."""

from __future__ import annotations

import random
from collections.abc import Sequence

from qbdcheck.perf.rounds import Measured
from qbdcheck.perf.sample import Sample
from qbdcheck.perf.shapes import PROFILES, Shape

SHAPES = PROFILES["quick"].shapes


def sample(cost: float = 1.0, unit_s: float = 0.01, server: bool = True) -> Sample:
    """Return a sample in which a request costs 10 us of the server and 100 us of time."""
    return Sample(
        requests=1000,
        seconds=0.1 * cost,
        bytes_done=1000 * 4096,
        server_s=0.01 * cost if server else None,
        client_s=0.008 * cost,
        others=0.0,
        unit_s=unit_s,
        latencies_ns={100_000: 990, 1_000_000: 10},
    )


def measured(
    costs: dict[str, float],
    seed: int,
    *,
    scatter: float = 0.03,
    rounds: int = 6,
    shapes: Sequence[Shape] = SHAPES,
    unit_s: float = 0.01,
) -> Measured:
    """Return samples of targets by their cost; each sample is scattered by a normal law."""
    draw = random.Random(seed)
    return Measured(
        tuple(shapes),
        {
            name: {
                shape: [
                    sample(cost * max(draw.gauss(1.0, scatter), 0.1), unit_s) for _ in range(rounds)
                ]
                for shape in shapes
            }
            for name, cost in costs.items()
        },
    )

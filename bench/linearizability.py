"""Measure how many operations per second the checker of histories judges; print and save JSON.

    .venv/bin/python bench/linearizability.py [--save FILE] [--rounds N]

Goal: 100,000 operations per second. An operation is one read or write of one sector. The histories
are correct, which is the slowest case for the checker. All figures are medians of the rounds.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.prerequisites import save  # noqa: E402
from oracles.linearizability import Access, check  # noqa: E402  # the path is set above

SHAPES = {"64 sectors, 8 clients": (64, 8), "4096 sectors, 8 clients": (4096, 8),
          "1 sector, 8 clients": (1, 8), "64 sectors, 64 clients": (64, 64)}  # fmt: skip
OPERATIONS = 200_000


def history(sectors: int, clients: int) -> list[Access]:
    """Return a linearizable history: each request takes effect somewhere within its time."""
    rng = random.Random(1)
    values = [0] * sectors
    free = [0.0] * clients
    found = []
    for number in range(1, OPERATIONS + 1):
        client = rng.randrange(clients)
        sector = rng.randrange(sectors)
        effect = float(number)
        call = max(free[client], effect - rng.random() * clients)
        free[client] = returned = effect + rng.random()
        is_write = rng.random() < 0.5
        if is_write:
            values[sector] = number
        access = Access(sector, is_write, values[sector], call, returned, client, number)
        found.append(access)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    results = {}
    for name, (sectors, clients) in SHAPES.items():
        accesses = history(sectors, clients)
        rates = []
        for _ in range(options.rounds):
            start = time.perf_counter()
            assert check(accesses) == []
            rates.append(OPERATIONS / (time.perf_counter() - start))
        results[name] = round(statistics.median(rates))
        print(f"{name:28} {results[name]:10,} operations/s")
        save(options.save, {"operations_per_s": results})


if __name__ == "__main__":
    main()

"""Measure how much the simulated cluster does in a second; print and save JSON.

    .venv/bin/python bench/cluster_simulation.py [--save FILE] [--rounds N]

Goal: thousands of schedules a minute on one core. Seconds are those of this process's CPU, so that
other programs do not count; figures are medians of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.prerequisites import save  # noqa: E402  # the path is set above
from qbdcheck.kit.cluster.hunt import hunt  # noqa: E402
from qbdcheck.kit.cluster.schedule import FAULTS  # noqa: E402

SCHEDULES = 100


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rates: dict[str, list[float]] = {"schedules": [], "requests": [], "faults": []}
    for number in range(options.rounds):
        start = time.process_time()
        found = hunt(range(number * SCHEDULES, (number + 1) * SCHEDULES))
        seconds = time.process_time() - start
        assert found.failing is None, str(found)
        faults = sum(found.happened[kind] for kind in FAULTS)
        for name, count in (
            ("schedules", found.schedules), ("requests", found.requests), ("faults", faults)
        ):  # fmt: skip
            rates[name].append(count / seconds)
    results = {f"{name}_per_s": round(statistics.median(one)) for name, one in rates.items()}
    for name, rate in results.items():
        print(f"{name:18} {rate:8,}")
    save(options.save, results)


if __name__ == "__main__":
    main()

"""How fast stamps are made and checked, and how fast the shadow judges; prints and saves JSON.

    .venv/bin/python bench/stamps.py [--save FILE]

The bound of the project: making and verifying at least 1 GB/s each at 1 MiB. Medians of interleaved
rounds, because the machine is shared.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from oracles.shadow import Shadow  # noqa: E402  # the path is set above
from oracles.stamps import Identity, stamp, verify  # noqa: E402

ME = Identity.of("bench", "volume")
SIZES = {"4 KiB": 4 << 10, "64 KiB": 64 << 10, "1 MiB": 1 << 20, "8 MiB": 8 << 20}
BOUND_GB_S = 1.0
ROUNDS = 15
BYTES_A_ROUND = 16 << 20


def speed(work: Callable[[], object], size: int) -> float:
    """Return GB/s of one round."""
    times = max(BYTES_A_ROUND // size, 1)
    if size <= 4096:
        times //= 8
    start = time.perf_counter()
    for _ in range(times):
        work()
    return times * size / (time.perf_counter() - start) / 1e9


def tasks() -> dict[tuple[str, str], tuple[Callable[[], object], int]]:
    """Return what is measured, by (task, size)."""
    chosen: dict[tuple[str, str], tuple[Callable[[], object], int]] = {}
    for name, size in SIZES.items():
        shadow = Shadow(size, ME)
        data = shadow.prefill().tobytes()
        chosen["make", name] = partial(stamp, 0, size, ME, 3, 57), size
        chosen["verify", name] = partial(verify, data, 0, ME), size
        chosen["shadow check", name] = partial(shadow.check, 0, data), size
    return chosen


def main() -> int:
    """Measure; exit 1 where the bound at 1 MiB is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", type=Path, default=ROOT / "bench/results/stamps.json")
    options = parser.parse_args()
    chosen = tasks()
    rounds: dict[tuple[str, str], list[float]] = {key: [] for key in chosen}
    for _ in range(ROUNDS):
        for key, (work, size) in chosen.items():
            rounds[key].append(speed(work, size))
    medians = {key: statistics.median(values) for key, values in rounds.items()}
    print(f"{'GB/s':<14}" + "".join(f"{size:>10}" for size in SIZES))
    for task in ("make", "verify", "shadow check"):
        print(f"{task:<14}" + "".join(f"{medians[task, size]:>10.2f}" for size in SIZES))
    missed = [task for task in ("make", "verify") if medians[task, "1 MiB"] < BOUND_GB_S]
    result = {
        "machine": platform.platform(),
        "python": platform.python_version(),
        "rounds": ROUNDS,
        "gb_per_s": {f"{task}, {size}": round(gbs, 2) for (task, size), gbs in medians.items()},
        "bound_gb_per_s_at_1_mib": BOUND_GB_S,
        "missed": missed,
    }
    options.save.parent.mkdir(parents=True, exist_ok=True)
    options.save.write_text(json.dumps(result, indent=2) + "\n")
    print(f"bound of {BOUND_GB_S} GB/s at 1 MiB: {'missed by ' + str(missed) if missed else 'met'}")
    print(f"saved {options.save}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

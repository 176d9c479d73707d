"""What rules cost a request; prints and saves JSON.

    .venv/bin/python bench/rules.py [--save FILE]

The bound of the project: below 2 us a request with 100 armed rules that do not meet it. Each round
asks every set of rules in turn, because the machine is shared; medians of the rounds. ``nothing``
is the loop and the disk alone, and is taken off the others.
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

from injectors.layer import create  # noqa: E402  # the path is set above
from reference_backend.layers import Command, Reply, Request  # noqa: E402

BOUND_US = 2.0
ROUNDS = 25
REQUESTS = 2000
FAR = 1 << 24
"""A sector beyond all requests."""

RULES: dict[str, list[str]] = {
    "1 of another event": ["{event: l2_load}"],
    "100 of other events": ["{event: l2_load}"] * 100,
    "100 of other kinds of request": ["{event: write_aio, iotype: discard}"] * 100,
    "100 in another state": ["{event: write_aio, state: 5}"] * 100,
    "100 with far ranges": [
        f"{{event: write_aio, sector: {FAR + 100 * n}-{FAR + 100 * n + 50}}}" for n in range(100)
    ],
    "100 with ranges all around": [
        f"{{event: write_aio, sector: {8 * n + 4}-{8 * n + 7}}}" for n in range(100)
    ],
    "100 on events before, at and after": [
        f"{{event: {event}, sector: {FAR + n}}}"
        for n, event in zip(range(100), ["write_aio", "pwritev", "pwritev_done", "none"] * 25,
                            strict=True)
    ],
}  # fmt: skip
DONE = Reply()


def disk(request: Request) -> Reply:
    """Answer at once."""
    del request
    return DONE


def requests(command: Command) -> list[Request]:
    """Return 2 KiB requests at 4 KiB steps, so that they can fall between ranges."""
    payload = bytes(2048) if command is Command.WRITE else b""
    return [Request(command, 0, n % 100 * 4096, 2048, n, payload, 1) for n in range(REQUESTS)]


def cost_us(work: Callable[[Request], Reply], asked: list[Request]) -> float:
    """Return the mean time of a request in this round, in microseconds."""
    start = time.perf_counter()
    for request in asked:
        work(request)
    return (time.perf_counter() - start) / len(asked) * 1e6


def measure() -> dict[str, dict[str, float]]:
    """Return microseconds a request, by rules and command."""
    layers = {
        name: create(f"rules: [{', '.join(rules)}]", seed=0) for name, rules in RULES.items()
    }
    works: dict[str, Callable[[Request], Reply]] = {"nothing": disk}
    works |= {name: partial(layer.handle, below=disk) for name, layer in layers.items()}
    asked = {command.name: requests(command) for command in (Command.WRITE, Command.READ)}
    rounds: dict[tuple[str, str], list[float]] = {}
    for _ in range(ROUNDS):
        for name, work in works.items():
            for command, some in asked.items():
                rounds.setdefault((name, command), []).append(cost_us(work, some))
    for name, layer in layers.items():
        if any(rule["fired"] for rule in layer.describe()["rules"]):
            raise AssertionError(f"{name}: a rule met a request, so this measures something else")
    medians = {key: statistics.median(values) for key, values in rounds.items()}
    return {
        name: {c: round(medians[name, c] - medians["nothing", c], 3) for c in asked}
        for name in layers
    }


def main() -> int:
    """Measure; exit 1 where the bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", type=Path, default=ROOT / "bench/results/rules.json")
    arguments = parser.parse_args()
    results = measure()
    worst = max(cost for costs in results.values() for cost in costs.values())
    print(f"{'us a request':36s} WRITE   READ")
    for name, costs in results.items():
        print(f"{name:36s} {costs['WRITE']:5.2f}  {costs['READ']:5.2f}")
    print(f"worst {worst:.2f} us, bound {BOUND_US} us")
    arguments.save.parent.mkdir(parents=True, exist_ok=True)
    about = {"machine": platform.platform(), "python": platform.python_version()}
    saved = about | {"bound_us": BOUND_US, "worst_us": worst, "us_a_request": results}
    arguments.save.write_text(json.dumps(saved, indent=2) + "\n")
    return int(worst >= BOUND_US)


if __name__ == "__main__":
    sys.exit(main())

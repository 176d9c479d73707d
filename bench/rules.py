"""Measure what armed rules cost per request; print and save JSON.

    .venv/bin/python bench/rules.py [--save FILE] [--rounds N] [--no-server]

The bounds of the project: less than 2 us per request with 100 armed rules that do not match, and a
server that keeps 0.9 of its operations per second.

The first part measures the layer alone, in this process. Each round runs every set of rules in
turn, and the minimum of the rounds counts, because anything above it comes from other processes.
``nothing`` is the loop and the disk, and is subtracted.

The second part measures servers with fio's nbd engine: without a layer, and with 0, 1 and 100 armed
rules that never match. All servers run at the same time. Rounds of one second measure each server
in turn, and the order changes with each round. A ratio is the median of the ratios to the server
without a layer in the same round. The CPU time per request varies less and is printed too.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.nbd_server import VOLUME_MIB, cpu_seconds, fio  # noqa: E402
from bench.prerequisites import need, save  # noqa: E402
from blockio.layers import Command, Reply, Request  # noqa: E402
from injectors.layer import create  # noqa: E402  # the path is set above
from reference_backend.server import Server  # noqa: E402
from reference_backend.store.memory import MemoryStore  # noqa: E402
from reference_backend.store.volume import Volume  # noqa: E402

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
SERVER_BOUND = 0.9
SERVED_RULES = (None, 0, 1, 100)
"""Number of rules of each server; None for no layer."""
WORKLOADS = [(rw, depth) for rw in ("randwrite", "randread") for depth in (1, 16)]


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
    layers = {name: create(f"rules: [{', '.join(rules)}]", seed=0) for name, rules in RULES.items()}
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
    least = {key: min(values) for key, values in rounds.items()}
    return {
        name: {c: round(least[name, c] - least["nothing", c], 3) for c in asked} for name in layers
    }


def serve(rules: str, address: str) -> None:
    """Run a server with a volume in memory until the process is ended."""
    layers = []
    if rules != "None":
        armed = [f"{{event: {('write_aio', 'read_aio')[n % 2]}, sector: {FAR + 8 * n}+8}}"
                 for n in range(int(rules))]  # fmt: skip
        layers = [create(f"rules: [{', '.join(armed)}]", seed=0)]
    volume = Volume(MemoryStore(VOLUME_MIB << 20), "")
    Server({"": volume}, Path(address), layers=layers).serve_forever()


@contextlib.contextmanager
def servers(directory: Path) -> Iterator[dict[int | None, tuple[int, Path]]]:
    """Run all servers for the time of the block; gives process ids and sockets by rules."""
    started: dict[int | None, tuple[subprocess.Popen[bytes], Path]] = {}
    try:
        for count in SERVED_RULES:
            address = directory / f"{count}"
            argv = [sys.executable, __file__, "--serve", str(count), str(address)]
            started[count] = subprocess.Popen(argv), address
        for process, address in started.values():
            deadline_s = time.monotonic() + 20
            while not address.exists():
                if process.poll() is not None or time.monotonic() > deadline_s:
                    sys.exit("bench: a server did not start")
                time.sleep(0.01)
            fio(address, "write", "1m", 4, 0)
        yield {count: (process.pid, address) for count, (process, address) in started.items()}
    finally:
        for process, _ in started.values():
            process.kill()
            process.wait()


def measure_servers(rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Return ratio and CPU microseconds a request, by workload and number of rules."""
    seen: dict[tuple[str, int | None], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="q") as directory, servers(Path(directory)) as all_:
        for turn in range(rounds):
            for rw, depth in WORKLOADS:
                order = SERVED_RULES[turn % 4 :] + SERVED_RULES[: turn % 4]
                for count in order:
                    pid, address = all_[count]
                    before_s = cpu_seconds(pid)
                    iops, operations = fio(address, rw, "4k", depth, 1)
                    cpu_us = (cpu_seconds(pid) - before_s) / max(operations, 1) * 1e6
                    seen.setdefault((f"{rw} qd{depth}", count), []).append((iops, cpu_us))
    results: dict[str, dict[str, dict[str, float]]] = {}
    for (workload, count), samples in seen.items():
        plain = seen[workload, None]
        ratios = [mine[0] / other[0] for mine, other in zip(samples, plain, strict=True)]
        results.setdefault(workload, {})[str(count)] = {
            "ratio": round(statistics.median(ratios), 3),
            "iops": round(statistics.median(sample[0] for sample in samples)),
            "cpu_us": round(statistics.median(sample[1] for sample in samples), 2),
        }
    return results


def show_servers(results: dict[str, dict[str, dict[str, float]]]) -> float:
    """Print the servers' table; return the worst ratio."""
    print(f"{'4k, rules':16s}{'IOPS':>9s}{'ratio':>8s}{'CPU us':>8s}")
    for workload, by_rules in results.items():
        print(workload)
        for rules, one in by_rules.items():
            name = "no layer" if rules == "None" else rules
            print(f"  {name:14s}{one['iops']:9.0f}{one['ratio']:8.2f}{one['cpu_us']:8.2f}")
    return min(one["ratio"] for by_rules in results.values() for one in by_rules.values())


def main() -> int:
    """Measure; exit status 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", type=Path, default=ROOT / "bench/results/rules.json")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of the servers, 16 s each")
    parser.add_argument("--no-server", action="store_true", help="measure the layer alone")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(*arguments.serve)
        return 0
    need([] if arguments.no_server else ["fio"])
    results = measure()
    worst = max(cost for costs in results.values() for cost in costs.values())
    print(f"{'us per request':36s} WRITE   READ")
    for name, costs in results.items():
        print(f"{name:36s} {costs['WRITE']:5.2f}  {costs['READ']:5.2f}")
    print(f"worst {worst:.2f} us, bound {BOUND_US} us")
    saved: dict[str, object] = {"bound_us": BOUND_US, "worst_us": worst, "us_a_request": results}
    save(arguments.save, saved)
    is_missed = worst >= BOUND_US
    if not arguments.no_server:
        served = measure_servers(arguments.rounds)
        lowest = show_servers(served)
        print(f"worst ratio {lowest:.2f}, bound {SERVER_BOUND}")
        saved |= {"bound_ratio": SERVER_BOUND, "worst_ratio": lowest, "servers": served}
        is_missed = is_missed or lowest < SERVER_BOUND
    save(arguments.save, saved)
    return int(is_missed)


if __name__ == "__main__":
    sys.exit(main())

"""Measure what it costs to hand units to workers (--cluster); print and save JSON.

    .venv/bin/python bench/cluster.py [WHAT...] [--cases 1-100] [--rounds 3] [--save FILE]

WHAT: ``range`` (wall time of a range of cases with -j and with local workers), ``unit`` (overhead
of one unit) and ``memory`` (10,000 empty units); all by default. Goals: at most 30 ms a unit, and
no growth of memory from 1,000 to 10,000 units. On a shared machine compare interleaved rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.prerequisites import save  # noqa: E402  # the path is set above

EMPTY = '''
"""This case checks that nothing takes no time."""
from qbdcheck.kit import case

@case(groups="quick")
def test():
    pass
'''
UNITS = 10_000
WORKERS = (1, 2, 4)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["range", "unit", "memory"])
    parser.add_argument("--cases", default="1-100")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--units", type=int, default=UNITS)
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    results: dict[str, Any] = {"load_at_start": os.getloadavg()[0], "cores": os.cpu_count()}
    with tempfile.TemporaryDirectory(prefix="qb-") as directory:
        suites = Path(directory) / "suites"
        suites.mkdir()
        (suites / "groups.yaml").write_text("quick: fast\n")
        (suites / "001_empty.py").write_text(textwrap.dedent(EMPTY).lstrip())
        if "range" in options.what:
            results |= of_range(Path(directory), options.cases, options.rounds)
        if "unit" in options.what:
            results |= of_unit(Path(directory), options.rounds)
        if "memory" in options.what:
            results |= of_memory(Path(directory), options.units)
    for name, value in results.items():
        print(f"{name:28} {value}")
    save(options.save, results)


def of_range(directory: Path, cases: str, rounds: int) -> dict[str, Any]:
    """Return medians of interleaved runs: the time of the cases, without start and end."""
    ways = [("-j1",), ("-j2",), *(("--cluster", f"local:{count}") for count in WORKERS)]
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        for way in ways:
            whole_s, cpu_s, end = run(directory, [cases, "--seed", "1", *way])
            name = " ".join(way).lstrip("-")
            times.setdefault(f"{name}, cases, s", []).append(end["elapsed_s"])
            times.setdefault(f"{name}, whole, s", []).append(whole_s)
            times.setdefault(f"{name}, CPU, s", []).append(cpu_s)
    return {name: round(statistics.median(each), 1) for name, each in times.items()}


def of_unit(directory: Path, rounds: int) -> dict[str, Any]:
    """Return the overhead of a unit in ms: empty cases on one worker, less those with -j1."""
    count = 300
    overheads, alone, on_worker = [], [], []
    for _ in range(rounds):
        flags = ["1", "--repeat", str(count), "--suites-dir", str(directory / "suites"), "-t"]
        flags += ["file", "--seed", "1"]
        _, _, here = run(directory, [*flags, "-j1"])
        _, _, there = run(directory, [*flags, "--cluster", "local:1"])
        alone.append(here["elapsed_s"] / count * 1000)
        on_worker.append(there["elapsed_s"] / count * 1000)
        overheads.append(on_worker[-1] - alone[-1])
    return {
        "empty unit, -j1, ms": round(statistics.median(alone), 1),
        "empty unit, worker, ms": round(statistics.median(on_worker), 1),
        "overhead per unit, ms": round(statistics.median(overheads), 1),
    }


def of_memory(directory: Path, count: int) -> dict[str, Any]:
    """Return the memory of client, worker and engine after a tenth of the units, and at the end."""
    flags = ["1", "--repeat", str(count), "--suites-dir", str(directory / "suites"), "-t", "file"]
    events = directory / "events"
    process = start(directory, [*flags, "--cluster", "local:2", "--events", str(events)])
    early: dict[str, float] = {}
    late: dict[str, float] = {}
    done = 0
    while process.poll() is None:
        time.sleep(0.5)
        done = events.read_bytes().count(b'"case_ended"') if events.exists() else 0
        if done >= count // 10:
            now = memory_mib(process.pid)
            early = early or now
            late = now or late
    assert done >= count - 200, (directory / "out").read_text()[-2000:]
    return {
        f"memory after {count // 10}, MiB": early,
        f"memory after {count}, MiB": late,
    }


def memory_mib(pid: int) -> dict[str, float]:
    """Return the resident memory of a run's long-lived processes, the largest of each kind."""
    found: dict[str, float] = {}
    for process in processes(pid):
        try:
            command, size = " ".join(process.cmdline()), process.memory_info().rss / (1 << 20)
        except psutil.Error:
            continue
        kind = "client" if process.pid == pid else ""
        kind = kind or ("engine" if "qbdcheck.workers.engine" in command else "")
        kind = kind or ("worker" if "multiprocessing.spawn" in command else "")
        if kind:
            found[kind] = round(max(size, found.get(kind, 0.0)), 1)
    return found


def processes(pid: int) -> Iterator[psutil.Process]:
    """Yield a process and its descendants."""
    try:
        parent = psutil.Process(pid)
        yield parent
        yield from parent.children(recursive=True)
    except psutil.Error:
        return


def start(directory: Path, flags: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a run with a cache of its own."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(directory)}
    with (directory / "out").open("w") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "qbdcheck", "--no-config", *flags],
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=out,
        )


def run(directory: Path, flags: Sequence[str]) -> tuple[float, float, dict[str, Any]]:
    """Run; return its wall time and CPU time in seconds, and its last event."""
    report = directory / "report.json"
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = start(directory, [*flags, "--json", str(report)])
    process.wait()
    seconds = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert process.returncode in (0, 1), (directory / "out").read_text()
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu_s, json.loads(report.read_text())["end"]


if __name__ == "__main__":
    main()

"""Measure the time per case, and where it goes: ``python bench/suite.py [-t TARGET] [WHAT...]``.

Runs the cases as ./check does, one at a time. In the process of each case it records how long the
start of the server, the prefill, the comparison of contents and the end take, and how much CPU time
each program used. On a shared machine, compare the CPU time. Prints a table and writes
bench/results/suite.json (if only some cases run, only with --json).

For comparison: qemu-iotests over NBD (QEMU 7.2, ``check -nbd -raw``) needs about 2 s per case on
two cores.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from qbdcheck import cli  # noqa: E402
from qbdcheck.bootstrap import bytecode  # noqa: E402
from qbdcheck.report.events import TestEnded  # noqa: E402
from qbdcheck.runner import child  # noqa: E402
from qbdcheck.runner.case_run import Result, Unit  # noqa: E402
from qbdcheck.targets.disk import Disk  # noqa: E402
from qbdcheck.targets.lifecycle import Backend  # noqa: E402
from qbdcheck.targets.session import TargetSession  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "suite.json"
PEER_S_PER_CASE = 2.0
_PHASES: tuple[tuple[type, str, str], ...] = (
    (Backend, "start", "start of servers"),
    (Disk, "prefill", "prefill"),
    (Disk, "read_all", "reading for verify"),
    (TargetSession, "close", "end of servers"),
)
"""Methods whose time is measured; no method calls another of them."""

Record = dict[str, Any]


class Meter:
    """The measurements of one case's process so far."""

    def __init__(self) -> None:
        self.phases_s: defaultdict[str, float] = defaultdict(float)
        self.programs_cpu_s: defaultdict[str, float] = defaultdict(float)
        self.started: Counter[str] = Counter()

    def clear(self) -> None:
        """Forget what the runner has noted, when a case begins."""
        for noted in (self.phases_s, self.programs_cpu_s, self.started):
            noted.clear()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Note the elapsed time of what is inside."""
        before = time.monotonic()
        try:
            yield
        finally:
            self.phases_s[name] += time.monotonic() - before

    def ended(self, argv: Sequence[str], usage: resource.struct_rusage) -> None:
        """Note a program that was reaped."""
        name = program_name(argv)
        self.started[name] += 1
        self.programs_cpu_s[name] += usage.ru_utime + usage.ru_stime


def program_name(argv: Sequence[str]) -> str:
    """Name a command line: the program, or ``reference server`` for the reference backend."""
    arguments = [os.fspath(word) for word in argv]
    if "reference_backend" in arguments:
        return "reference server" if "serve" in arguments else "reference command"
    if Path(arguments[0]).name == "setpriv":  # qbdcheck starts programs through it
        arguments = arguments[arguments.index("--") + 1 :]
    return Path(arguments[0]).name


def install(meter: Meter) -> None:
    """Make this process, and those forked from it, note things in ``meter``."""
    for owner, method, name in _PHASES:
        setattr(owner, method, _timed(getattr(owner, method), meter, name))

    def try_wait(popen: subprocess.Popen[bytes], flags: int) -> tuple[int, int]:
        try:
            pid, status, usage = os.wait4(popen.pid, flags)
        except ChildProcessError:
            return popen.pid, 0
        if pid == popen.pid:
            meter.ended(popen.args, usage)  # type: ignore[arg-type]
        return pid, status

    setattr(subprocess.Popen, "_try_wait", try_wait)  # noqa: B010  # private: not in its stub


def _timed(function: Callable[..., Any], meter: Meter, name: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def timed(*args: Any, **options: Any) -> Any:
        with meter.phase(name):
            return function(*args, **options)

    return timed


def note_each_case(meter: Meter, directory: Path) -> None:
    """Make each case's process leave a record in ``directory``."""
    run_unit = child.run_unit

    def noted(
        unit: Unit, scratch: Path, test_ended: Callable[[TestEnded], None] = lambda _: None
    ) -> Result:
        meter.clear()
        before = time.monotonic()
        result = run_unit(unit, scratch, test_ended)
        own = resource.getrusage(resource.RUSAGE_SELF)
        record = {
            "case": unit.case.case_id,
            "verdict": result.verdict.name,
            "elapsed_s": time.monotonic() - before,
            "own_cpu_s": own.ru_utime + own.ru_stime,
            "phases_s": dict(meter.phases_s),
            "programs_cpu_s": dict(meter.programs_cpu_s),
            "started": dict(meter.started),
        }
        (directory / f"{unit.case.case_id}.json").write_text(json.dumps(record))
        return result

    child.run_unit = noted


def cpu_s(record: Record) -> float:
    """Return the CPU time of a case with all its programs, in seconds."""
    return float(record["own_cpu_s"] + sum(record["programs_cpu_s"].values()))


def summary(records: Sequence[Record], runner_cpu_s: float) -> Record:
    """Return means over all cases that ran; seconds per case."""
    ran = [record for record in records if record["verdict"] != "NOT_RUN"]
    count = max(1, len(ran))
    phases: Counter[str] = Counter()
    programs: Counter[str] = Counter()
    started: Counter[str] = Counter()
    for record in ran:
        phases.update(record["phases_s"])
        programs.update(record["programs_cpu_s"])
        started.update(record["started"])
    return {
        "cases": len(ran),
        "elapsed_s": sum(record["elapsed_s"] for record in ran) / count,
        "median_s": median([record["elapsed_s"] for record in ran] or [0]),
        "cpu_s": sum(map(cpu_s, ran)) / count + runner_cpu_s / count,
        "phases_s": {name: total / count for name, total in phases.most_common()},
        "cpu_by_program_s": {
            "the case's own process": sum(record["own_cpu_s"] for record in ran) / count,
            "the runner": runner_cpu_s / count,
            **{name: total / count for name, total in programs.most_common()},
        },
        "programs_started": {name: total / count for name, total in started.most_common()},
        "peer_elapsed_s": PEER_S_PER_CASE,
    }


def render(found: Record, records: Sequence[Record], slowest: int) -> str:
    """Return the tables."""
    mean_s, peer_s = found["elapsed_s"], found["peer_elapsed_s"]
    lines = [
        f"{found['cases']} cases, one at a time; s each: {mean_s:.3f}, CPU {found['cpu_s']:.3f}",
        f"qemu-iotests over NBD: about {peer_s:.0f} s each, {peer_s / max(mean_s, 1e-9):.1f} times",
        "",
        "elapsed, ms a case",
        *[f"  {1000 * each:8.1f}  {name}" for name, each in found["phases_s"].items()],
        f"  {1000 * (mean_s - sum(found['phases_s'].values())):8.1f}  the case itself",
        "",
        "CPU, ms a case (started a case)",
    ]
    for name, each in found["cpu_by_program_s"].items():
        times = found["programs_started"].get(name)
        lines.append(f"  {1000 * each:8.1f}  {name}" + (f" ({times:.2f})" if times else ""))
    lines += ["", "the most CPU time, in s"]
    for record in sorted(records, key=cpu_s, reverse=True)[:slowest]:
        where = ", ".join(f"{name} {used:.2f}" for name, used in record["programs_cpu_s"].items())
        lines.append(
            f"  {cpu_s(record):6.2f}  {record['case']}: own {record['own_cpu_s']:.2f}, {where}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, save; return the exit status of the run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help=f"default: {RESULTS}")
    parser.add_argument("--slowest", type=int, default=15, metavar="N", help="cases listed (15)")
    parser.add_argument("-t", "--target", default="reference")
    parser.add_argument("what", nargs="*", help="numbers and ranges, as for ./check (all)")
    options = parser.parse_args(arguments)
    bytecode.keep_bytecode()
    meter = Meter()
    install(meter)
    with tempfile.TemporaryDirectory(prefix="qbd-suite-") as directory:
        note_each_case(meter, Path(directory))
        status = cli.main(["-t", options.target, "-j1", *(options.what or ["1-"])])
        own = resource.getrusage(resource.RUSAGE_SELF)
        files = sorted(Path(directory).iterdir())
        records = [json.loads(file.read_text()) for file in files]
    found = summary(records, own.ru_utime + own.ru_stime)
    print(render(found, records, options.slowest))
    file = options.json or (None if options.what else RESULTS)
    if file is not None:
        file.write_text(json.dumps({**found, "target": options.target, "each": records}, indent=1))
    return status


if __name__ == "__main__":
    raise SystemExit(main())

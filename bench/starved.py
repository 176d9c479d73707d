"""Run cases while the machine is starved, and count the verdicts.

    python -m bench.starved 001-499
    python -m bench.starved --loops 2 --runs 5 -g quick -- -j2

Busy loops take the CPU, four on each core by default. The arguments that this program does not
know go to ./check. The result is one JSON object: for each run, the number of cases with each
verdict, those whose verdict is "starved", those that ran a second time, and every failure. The
exit code is 1 if a case failed: slowness alone must never fail a case.

The loops end with this program, however it ends.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qbdcheck.clock import now_s
from qbdcheck.files import ROOT
from qbdcheck.programs.process import Process

LOOPS = 4
_LOOP = [sys.executable, "-c", "while True: pass"]


@contextlib.contextmanager
def busy_loops(directory: Path, per_core: int = LOOPS) -> Iterator[int]:
    """Keep every core busy with `per_core` loops at normal priority; give their number.

    :param directory: holds the (empty) output of the loops.
    """
    count = per_core * len(os.sched_getaffinity(0))
    loops: list[Process] = []
    try:
        loops += (Process(_LOOP, directory, f"loop{number}") for number in range(count))
        yield count
    finally:
        for loop in loops:
            loop.kill()


def measure(arguments: list[str], directory: Path) -> dict[str, Any]:
    """Run ./check with `arguments` once; return the verdicts as members of a JSON object."""
    report = directory / "report.json"
    report.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "qbdcheck", *arguments, "--json", str(report)]
    started_s = now_s()
    check = Process(argv, directory, "check", cwd=ROOT)
    try:
        while not check.has_ended_within(3600):
            pass
    finally:
        code = check.kill()
    cases = json.loads(report.read_text())["cases"] if report.exists() else []
    return {
        "seconds": round(now_s() - started_s, 1),
        "exit_code": code,
        "verdicts": dict(Counter(case["verdict"] for case in cases)),
        "starved": [case["case_id"] for case in cases if case.get("starved")],
        "ran_again": [case["case_id"] for case in cases if case.get("first_try")],
        "bad": {
            f"{case['case_id']} {case['image_format']}": f"{case['verdict']}: {case['message']}"
            for case in cases
            if case["verdict"] in ("fail", "broken")
        },
    }


def main() -> int:
    """Start the loops, run ./check, print the result as JSON; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--loops", type=int, default=LOOPS, help="busy loops on each core")
    parser.add_argument("--runs", type=int, default=1, help="how often the cases run")
    given, arguments = parser.parse_known_args()
    with (
        tempfile.TemporaryDirectory(prefix="starved-") as name,
        busy_loops(Path(name), given.loops) as count,
    ):
        runs = [measure(arguments, Path(name)) for _ in range(given.runs)]
    print(json.dumps({"loops": count, "arguments": arguments, "runs": runs}, indent=1))
    failed = any(run["verdicts"].get("fail") for run in runs)
    unknown = any(not run["verdicts"] for run in runs)
    return 1 if failed or unknown else 0


if __name__ == "__main__":
    sys.exit(main())

"""How often does the gate of ./check perf find a tenth, and accuse an equal build?

Each run is a whole ``./check perf --max-regression 5%`` against ``mutant:control-plain``. What is
judged is ``mutant:control-tenth-slower``, whose requests cost a tenth more CPU time, and
``mutant:control-plain`` again. Runs of both kinds take turns. A noisy machine makes a run BROKEN,
which counts as neither. Run it on a quiet machine: it takes about two minutes a run.

    python bench/perf_gate.py                   20 runs of each kind
    python bench/perf_gate.py --runs 3 --only qd16

Results: bench/results/perf_gate.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.prerequisites import need, save  # noqa: E402

PLAIN, SLOWER = "mutant:control-plain", "mutant:control-tenth-slower"
REGRESSION, FINE, BROKEN = "regression", "no regression", "broken"


@dataclass
class Kind:
    """The runs of one target.

    :ivar answers: of each run. :ivar costs: the CPU time of the server over all shapes, as a ratio.
    """

    target: str
    answers: list[str] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)

    def rate(self, answer: str) -> str:
        """Return how many of the runs that are not broken gave this answer."""
        valid = [one for one in self.answers if one != BROKEN]
        return f"{valid.count(answer)} of {len(valid)}"


def once(kind: Kind, more: list[str]) -> None:
    """Run ./check perf once and note its answer."""
    with tempfile.TemporaryDirectory(prefix="qb") as directory:
        report = Path(directory) / "perf.json"
        argv = [sys.executable, "-m", "qbdcheck", "perf", "-t", kind.target, "--vs", PLAIN]
        argv += ["--max-regression", "5%", "--json", str(report), *more]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
        if not report.exists():
            if done.returncode != 1:
                sys.exit(f"bench: {' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")
            kind.answers.append(BROKEN)
            print(f"{kind.target}: {done.stdout.strip().splitlines()[-1]}", flush=True)
            return
        found: dict[str, Any] = json.loads(report.read_text())["comparisons"][0]
    wrong = found["regressions"]
    kind.answers.append(REGRESSION if wrong else FINE)
    cost = next(one["cost"] for one in found["rows"] if one["metric"] == "server CPU")
    kind.costs.append(cost["value"])
    interval = f"{cost['value']:.3f} ({cost['low']:.3f} - {cost['high']:.3f})"
    print(f"{kind.target}: server CPU {interval}; {', '.join(wrong) or FINE}", flush=True)


def main() -> int:
    """Run both kinds in turns; exit status 1 if a tenth was missed or an equal build accused."""
    layout = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--runs", type=int, default=20, help="runs of each kind (default 20)")
    parser.add_argument("--only", default="", help="only shapes whose name contains this")
    parser.add_argument("--accept-noise", default="10%", help="as of ./check perf (default 10%%)")
    parser.add_argument("--output", type=Path, default=ROOT / "bench/results/perf_gate.json")
    arguments = parser.parse_args()
    need(["fio", "qemu-img"], {"hdrh": "hdrhistogram"})
    more = ["--accept-noise", arguments.accept_noise]
    more += ["--only", arguments.only] if arguments.only else []
    slower, plain = Kind(SLOWER), Kind(PLAIN)
    for _ in range(arguments.runs):
        for kind in (slower, plain):
            once(kind, more)
        rows = {one.target: {"answers": one.answers, "costs": one.costs} for one in (slower, plain)}
        save(arguments.output, {"runs": arguments.runs, "arguments": more, "kinds": rows})
    print(f"a tenth slower: found in {slower.rate(REGRESSION)} runs")
    print(f"an equal build: accused in {plain.rate(REGRESSION)} runs")
    broken = sum(one.answers.count(BROKEN) for one in (slower, plain))
    if broken:
        print(f"{broken} runs were broken: the machine was too noisy")
    missed = slower.answers.count(FINE)
    return 1 if missed or plain.answers.count(REGRESSION) else 0


if __name__ == "__main__":
    sys.exit(main())

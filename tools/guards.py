"""Check the claims of the ``Guards:`` lines: each case against each seeded bug that it names.

    .venv/bin/python tools/guards.py [-j N] [ID...] > guards.jsonl

The arguments are ids of mutants (default: all that a case names and whose cases can be run alone
here). Each mutant gets one run of all cases that name it. A line of the output says of one
mutant which cases failed, which passed although they name it, and which gave no verdict. The
exit code is 1 if a case passed, and 2 if no case names one of the arguments. Left out are cases of
guests, of other targets and of clusters, and those of more than LONGEST_S seconds
(suites/durations.json).

A bug of docs/bugs.md that is not seeded cannot be checked here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mutants.catalogue import catalogue, is_control
from qbdcheck.report.page_case import guarded_bugs

ROOT = Path(__file__).resolve().parents[1]
GUEST_SUITES = ("guest", "driver", "libvirt", "cluster", "perf")
"""Folders of cases that are not run here: guests, and targets of their own."""
LONGEST_S = 5.0
"""The longest duration of a case, in seconds."""
LIMIT_S = 900
"""The longest run of one mutant, in seconds."""


def naming(cases: Iterable[Path]) -> dict[str, list[str]]:
    """Return the ids of the cases that name each bug, by the id of the bug."""
    found: dict[str, list[str]] = {}
    for path in sorted(cases):
        for bug in dict.fromkeys(guarded_bugs(path)):
            found.setdefault(bug, []).append(path.stem)
    return found


def claims(verdicts: Mapping[str, str], cases: Sequence[str]) -> dict[str, list[str]]:
    """Sort cases by their verdicts: fail is ``kills``, pass is ``misses``, else ``no_verdict``."""
    sorted_: dict[str, list[str]] = {"kills": [], "misses": [], "no_verdict": []}
    of = {"fail": "kills", "pass": "misses"}
    for case in cases:
        sorted_[of.get(verdicts.get(case, ""), "no_verdict")].append(case)
    return sorted_


def verdicts_of(mutant: str, cases: Sequence[str], lanes: str) -> dict[str, str]:
    """Run cases against a mutant, and return the verdict of each by its id."""
    with tempfile.TemporaryDirectory(prefix="qg") as directory:
        report = Path(directory, "report.json")
        numbers = [case.split("_")[0] for case in cases]
        argv = [sys.executable, "-m", "qbdcheck", "-t", f"mutant:{mutant}", "-j", lanes]
        subprocess.run(
            [*argv, "--json", str(report), *numbers],
            cwd=ROOT, timeout=LIMIT_S, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        if not report.exists():
            return {}
        results = json.loads(report.read_text(encoding="utf-8"))["cases"]
    return {one["case_id"]: one["verdict"] for one in results}


def main(arguments: Sequence[str]) -> int:
    """Print one line of JSON for each mutant, and return the exit code."""
    lanes = "2"
    wanted = list(arguments)
    if wanted[:1] == ["-j"]:
        lanes, wanted = wanted[1], wanted[2:]
    durations = json.loads((ROOT / "suites" / "durations.json").read_text(encoding="utf-8"))
    short = {case for case, one in durations.items() if one["elapsed_s"] <= LONGEST_S}
    named = naming(
        path
        for path in (ROOT / "suites").glob("*/[0-9]*.py")
        if path.parent.name not in GUEST_SUITES and path.stem in short
    )
    seeded = {name for name, one in catalogue().items() if not is_control(one)}
    if unknown := [mutant for mutant in wanted if mutant not in named]:
        print(f"guards.py: no case that runs here names {', '.join(unknown)}", file=sys.stderr)
        return 2
    misses = 0
    for mutant in wanted or sorted(seeded & named.keys()):
        sorted_ = claims(verdicts_of(mutant, named[mutant], lanes), named[mutant])
        misses += len(sorted_["misses"])
        print(json.dumps({"id": mutant, **sorted_}), flush=True)
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

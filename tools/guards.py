"""Check the claims of the ``Guards:`` lines: each case against each seeded bug that it names.

    .venv/bin/python -m tools.guards [-j N] [--seed N] [--tries N] [ID...] > guards.jsonl
    .venv/bin/python -m tools.guards --correct guards.jsonl [MORE.jsonl...]

The arguments are ids of mutants (default: all that a case names and whose cases can be run alone
here). Each mutant gets one run of all cases that name it. Cases that passed run again, ``--tries``
times in all, with the next seeds: some bugs show themselves by chance. A line of the output says of
one mutant which cases failed, which passed although they name it, and which gave no verdict. The
exit code is 1 if a case passed, and 2 if no case names one of the arguments. Left out are cases of
guests, of other targets and of clusters, and those of more than LONGEST_S seconds
(suites/durations.json).

``--correct`` changes the cases: a bug that a case did not find in any of these files goes to its
line ``Related:``, and one that it found goes to ``Guards:``. A bug that is not seeded, or was not
measured, stays where it is.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mutants.catalogue import catalogue, is_control
from qbdcheck.report.page_case import guarded_bugs, related_bugs

ROOT = Path(__file__).resolve().parents[1]
GUEST_SUITES = ("guest", "driver", "libvirt", "cluster", "perf")
"""Folders of cases that are not run here: guests, and targets of their own."""
LONGEST_S = 5.0
"""The longest duration of a case, in seconds."""
LIMIT_S = 900
"""The longest run of one mutant, in seconds."""
_WIDTH = 100
_GUARDS_LINE = re.compile(r'^Guards:(?:.|\n(?!\n|"""|[A-Z][a-z]+:))*\n', re.MULTILINE)
_RELATED_LINE = re.compile(r'^Related:(?:.|\n(?!\n|"""|[A-Z][a-z]+:))*\n', re.MULTILINE)
"""The lines in the text of a case, with those that continue them."""


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


def measured(files: Iterable[Path]) -> dict[str, dict[str, bool]]:
    """Return of each case whether it found each bug at least once, from outputs of this tool."""
    found: dict[str, dict[str, bool]] = {}
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            for case in one["misses"]:
                found.setdefault(case, {}).setdefault(one["id"], False)
            for case in one["kills"]:
                found.setdefault(case, {})[one["id"]] = True
    return found


def corrected(case: Path, found: Mapping[str, bool]) -> str:
    """Return the text of a case whose lines say what was found; the same text if they do."""
    guards, relatives = guarded_bugs(case), related_bugs(case)
    new_guards = [bug for bug in guards if found.get(bug, True)]
    new_guards += [bug for bug in relatives if found.get(bug, False)]
    new_relatives = [bug for bug in guards + relatives if bug not in new_guards]
    text = case.read_text(encoding="utf-8")
    if new_guards == guards:
        return text
    lines = [
        textwrap.fill(f"{head} {', '.join(bugs)}.", _WIDTH, break_long_words=False,
                      break_on_hyphens=False)
        for head, bugs in (("Guards:", new_guards), ("Related:", new_relatives))
        if bugs
    ]  # fmt: skip
    without = _RELATED_LINE.sub("", text, count=1)
    return _GUARDS_LINE.sub("\n".join(lines) + "\n", without, count=1)


def tried(mutant: str, cases: Sequence[str], options: argparse.Namespace) -> dict[str, list[str]]:
    """Run cases against a mutant until each has failed, or the tries are over; see `claims`."""
    verdicts: dict[str, str] = {}
    left = list(cases)
    for seed in range(options.seed, options.seed + options.tries):
        verdicts |= verdicts_of(mutant, left, options.lanes, seed)
        left = claims(verdicts, cases)["misses"]
        if not left:
            break
    return claims(verdicts, cases)


def verdicts_of(mutant: str, cases: Sequence[str], lanes: str, seed: int) -> dict[str, str]:
    """Run cases against a mutant, and return the verdict of each by its id."""
    with tempfile.TemporaryDirectory(prefix="qg") as directory:
        report = Path(directory, "report.json")
        numbers = [case.split("_")[0] for case in cases]
        argv = [sys.executable, "-m", "qbdcheck", "-t", f"mutant:{mutant}"]
        argv += ["-j", lanes, "--seed", str(seed)]
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
    parser = argparse.ArgumentParser(prog="guards.py", description="Check the Guards: lines.")
    parser.add_argument("-j", dest="lanes", default="2", help="cases at a time")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first try (1)")
    parser.add_argument("--tries", type=int, default=1, help="runs of a case that passes (1)")
    parser.add_argument("--correct", action="store_true", help="change the cases")
    parser.add_argument("names", nargs="*", help="ids of mutants; with --correct: files")
    options = parser.parse_args(arguments)
    cases = [
        path
        for path in sorted((ROOT / "suites").glob("*/[0-9]*.py"))
        if path.parent.name not in GUEST_SUITES
    ]
    if options.correct:
        found = measured(map(Path, options.names))
        for case in cases:
            case.write_text(corrected(case, found.get(case.stem, {})), encoding="utf-8")
        return 0
    durations = json.loads((ROOT / "suites" / "durations.json").read_text(encoding="utf-8"))
    short = {case for case, one in durations.items() if one["elapsed_s"] <= LONGEST_S}
    named = naming(case for case in cases if case.stem in short)
    seeded = {name for name, one in catalogue().items() if not is_control(one)}
    if unknown := [mutant for mutant in options.names if mutant not in named]:
        print(f"guards.py: no case that runs here names {', '.join(unknown)}", file=sys.stderr)
        return 2
    misses = 0
    for mutant in options.names or sorted(seeded & named.keys()):
        sorted_ = tried(mutant, named[mutant], options)
        misses += len(sorted_["misses"])
        print(json.dumps({"id": mutant, **sorted_}), flush=True)
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Write suites/best-first.txt: the cases that find the most seeded bugs per second, best first.

    .venv/bin/python tools/best_first.py quick.json [...] > best && mv best suites/best-first.txt

The arguments are kill matrices (``./check --mutants --json FILE``), which know the first case that
killed each mutant. ``mutants/fingerprints.jsonl.gz`` knows for many mutants all cases that fail.
Durations come from suites/durations.json. The order is greedy: each next case is the one with the
most bugs, per second, that no case before it finds.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FINGERPRINTS = ROOT / "mutants" / "fingerprints.jsonl.gz"
DURATIONS = ROOT / "suites" / "durations.json"
FIXED_S = 0.03
"""What a case costs beside its own duration, in seconds."""
HEAD = """# The cases that find the most seeded bugs per second, the best first, for --best-first.
# Written by tools/best_first.py from the kill matrix and the fingerprints; do not edit.
"""


def of_fingerprints(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Give (number of a case, id of a mutant that it fails on)."""
    for line in lines:
        sample = json.loads(line)
        if sample["control"]:
            continue
        for number, found in sample["cases"].items():
            if "fail" in found:
                yield number, sample["id"]


def of_matrix(fates: Sequence[Mapping[str, object]]) -> Iterator[tuple[str, str]]:
    """Give (number of the case, id of the mutant that it killed)."""
    for fate in fates:
        if fate["state"] == "killed" and not fate["control"]:
            yield str(fate["case"]).split("_")[0], str(fate["id"])


def greedy(kills: Mapping[str, set[str]], cost_s: Mapping[str, float]) -> list[str]:
    """Return the cases in the order in which each adds the most bugs per second."""
    left = set().union(*kills.values())
    order = []
    while left:
        best = max(kills, key=lambda case: len(kills[case] & left) / cost_s[case])
        order.append(best)
        left -= kills[best]
    return order


def main() -> None:
    """Print the file."""
    durations = {
        case: one["elapsed_s"] + FIXED_S for case, one in json.loads(DURATIONS.read_text()).items()
    }
    names = {case.split("_")[0]: case for case in durations}
    kills: dict[str, set[str]] = {}
    with gzip.open(FINGERPRINTS, "rt") as stream:
        found = list(of_fingerprints(list(stream)))
    for path in sys.argv[1:]:
        found += of_matrix(json.loads(Path(path).read_text()))
    for number, mutant in found:
        if number in names:
            kills.setdefault(names[number], set()).add(mutant)
    print(HEAD + "\n".join(greedy(kills, durations)))


if __name__ == "__main__":
    main()

r"""Write docs/fingerprints.md: how well the fingerprints name a seeded bug.

    ./check --mutants --fingerprints found.jsonl --repeat 2 -j2
    gzip -9n < found.jsonl > mutants/fingerprints.jsonl.gz
    .venv/bin/python tools/docs/fingerprints.py > docs/fingerprints.md

With the name of a file, the page is about the fingerprints in it. Each sample of a bug that has several is compared with all other samples, itself left out.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from mutants.catalogue import GROUPS, catalogue, is_control  # noqa: E402  # the path is set above
from qbdcheck.report import fingerprints  # noqa: E402
from qbdcheck.report.fingerprints import (  # noqa: E402
    SHOWN,
    THRESHOLD,
    Fingerprints,
    Likeness,
    Sample,
)

HEAD = """# Fingerprints

Written by `tools/docs/fingerprints.py` from `mutants/fingerprints.jsonl.gz`; do not edit. `./check --mutants --fingerprints FILE` measures which cases fail on each [seeded bug](bugs-and-mutants.md), and how. A run with failures is compared with them, and ends with what it [looks like](reports.md#causes).

The similarity is the cosine of two vectors. Their features are the cases that failed, each with its kinds of damage and the shape of its error (request, errno, how the request ended). A feature that few bugs have weighs more. Cases that were not run in one of the two are ignored. A run looks like nothing below a similarity of {threshold}.
"""


@dataclass(frozen=True)
class Trial:
    """A sample that was left out, and what it looks like to the others."""

    sample: Sample
    found: Sequence[Likeness]
    named: Sequence[Likeness] = ()
    """What a run would name: above the threshold, and from enough cases."""

    @property
    def first(self) -> Likeness | None:
        """The most similar bug."""
        return self.found[0] if self.found else None

    @property
    def is_hit(self) -> bool:
        """Whether the right bug is among those that a run would name."""
        return self.sample.id in {one.id for one in self.found[:SHOWN]}

    @property
    def is_first(self) -> bool:
        """Whether the right bug is the most similar one."""
        return self.first is not None and self.first.id == self.sample.id

    @property
    def is_right_group(self) -> bool:
        """Whether the most similar bug is of the right group."""
        return self.first is not None and self.first.group == self.sample.group


def failing(samples: Iterable[Sample]) -> list[Sample]:
    """Return the samples of bugs that at least one case detects."""
    return [
        one
        for one in samples
        if not one.control and any(case.is_bad for case in one.cases.values())
    ]


def trials_of(samples: Sequence[Sample]) -> list[Trial]:
    """Leave out each sample of a bug that has several, and compare it with all others."""
    usable = failing(samples)
    counts = Counter(one.id for one in usable)
    trials = []
    for left_out in usable:
        if counts[left_out.id] > 1:
            known = Fingerprints(other for other in usable if other is not left_out)
            found, named = known.compare(left_out.cases), known.looks_like(left_out.cases)
            trials.append(Trial(left_out, found, named))
    return trials


def share(part: int, whole: int) -> str:
    """Return ``18 of 20 (90 %)``."""
    return f"{part} of {whole} ({100 * part // whole if whole else 0} %)"


def summary(samples: Sequence[Sample], trials: Sequence[Trial]) -> str:
    """Return the hit rates, and what was measured."""
    bugs = [name for name, mutant in catalogue().items() if not is_control(mutant)]
    measured = {one.id for one in samples if not one.control}
    detected = {one.id for one in failing(samples)}
    named = [trial for trial in trials if trial.named]
    cases = sorted(len(one.cases) for one in samples if not one.control)
    missing = [f"`{name}`" for name in bugs if name not in measured]
    silent = [f"`{name}`" for name in bugs if name in measured - detected]
    hits, firsts = sum(one.is_hit for one in trials), sum(one.is_first for one in trials)
    groups, count = sum(one.is_right_group for one in trials), len(trials)
    right = sum(one.sample.id in {like.id for like in one.named} for one in named)
    repeated = len({one.sample.id for one in trials})
    rates = (
        f"**The right bug is among the first {SHOWN} in {share(hits, count)} samples, the first in"
        f" {share(firsts, count)}; the first is of the right group in {share(groups, count)}.**"
        f" A run names a bug only above the threshold, if at least 5 cases ran in both, if two failed"
        " in both (or its only one), and if a quarter of its failures were measured for the bug:"
        f" {share(len(named), count)} do, and of these {share(right, len(named))} name the right"
        " one.\n"
    )
    what = (
        f"Measured: {len(samples)} samples of {len(measured)} of {len(bugs)} bugs, of {cases[0]} to"
        f" {cases[-1]} cases each (half of them at least {cases[len(cases) // 2]});"
        f" {repeated} bugs have several samples, and count here.\n"
    )
    lines = [rates, what]
    for reason, number in Counter(one.cut for one in samples if one.cut).most_common():
        lines.append(f"Not whole: {number} samples ({reason}).\n")
    if missing:
        lines.append(f"Not measured: {', '.join(missing)}.\n")
    if silent:
        lines.append(f"No measured case detects: {', '.join(silent)}.\n")
    return "\n".join(lines)


def thresholds(samples: Sequence[Sample], trials: Sequence[Trial]) -> str:
    """Return what each threshold costs, and what it prevents: names for unknown bugs."""
    usable = failing(samples)
    unknown = []
    for name in dict.fromkeys(one.id for one in usable):
        others = Fingerprints(one for one in usable if one.id != name)
        first = next(one for one in usable if one.id == name)
        unknown.append(Trial(first, others.compare(first.cases)))
    lines = [
        "## Threshold\n",
        "A known bug: another sample of it is among the fingerprints. An unknown bug: none is.\n",
        "| threshold | known bugs: the right name is above it | unknown bugs: a name is above it | of these, of the right group |",
        "|---|---|---|---|",
    ]
    for limit in sorted({0.2, 0.3, 0.4, 0.5, 0.6, 0.7, THRESHOLD}):
        kept = [
            trial
            for trial in trials
            if any(one.id == trial.sample.id and one.score >= limit for one in trial.found[:SHOWN])
        ]
        named = [trial for trial in unknown if trial.first and trial.first.score >= limit]
        groups = sum(trial.is_right_group for trial in named)
        known_text, unknown_text = share(len(kept), len(trials)), share(len(named), len(unknown))
        mark = "**" if limit == THRESHOLD else ""
        lines.append(f"| {mark}{limit}{mark} | {known_text} | {unknown_text} | {groups} |")
    return "\n".join([*lines, ""])


def confusion(trials: Sequence[Trial]) -> str:
    """Return the table of groups: rows are the truth, columns what came first."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for trial in trials:
        counts[trial.sample.group, trial.first.group if trial.first else "none"] += 1
    rows = [group for group in GROUPS if any(one == group for one, _ in counts)]
    seen = {column for _, column in counts}
    columns = [group for group in (*GROUPS, "none") if group in seen or group in rows]
    lines = [
        "## Groups\n",
        "Rows are the groups of the bugs, columns the group of the most similar one.\n",
        f"| | {' | '.join(columns)} |",
        "|---|" + "---|" * len(columns),
    ]
    lines += [
        f"| {row} | {' | '.join(str(counts[row, column] or '') for column in columns)} |"
        for row in rows
    ]
    return "\n".join([*lines, ""])


def mistakes(trials: Sequence[Trial]) -> str:
    """Return the samples of which another bug came first."""
    lines = [
        "## Confused bugs\n",
        "| bug | seed | looks like |",
        "|---|---|---|",
    ]
    wrong = [trial for trial in trials if not trial.is_first]
    for trial in wrong:
        named = ", ".join(f"`{one.id}` ({one.score:.2f})" for one in trial.found[:SHOWN])
        lines.append(f"| `{trial.sample.id}` | {trial.sample.seed} | {named or 'nothing'} |")
    return "\n".join([*lines, ""]) if wrong else "## Confused bugs\n\nNone.\n"


def per_bug(samples: Sequence[Sample]) -> str:
    """Return the table of bugs with the cases that fail on each."""
    lines = [
        "## Cases that fail\n",
        "Of each bug, the cases that failed in any of its samples.\n",
        "| bug | samples | cases | fail | damage |",
        "|---|---|---|---|---|",
    ]
    by_id: dict[str, list[Sample]] = defaultdict(list)
    for one in samples:
        if not one.control:
            by_id[one.id].append(one)
    for name in catalogue():
        some = by_id.get(name, [])
        if not some:
            continue
        bad = {case for one in some for case, outcome in one.cases.items() if outcome.is_bad}
        damage = Counter(
            kind for one in some for case in one.cases.values() for kind in case.damage[:1]
        )
        kinds = ", ".join(kind for kind, _ in damage.most_common(3))
        measured = len({case for one in some for case in one.cases})
        shown = " ".join(sorted(bad)) or "none"
        lines.append(f"| `{name}` | {len(some)} | {measured} | {shown} | {kinds} |")
    return "\n".join([*lines, ""])


def text(samples: Sequence[Sample]) -> str:
    """Return the document."""
    trials = trials_of(samples)
    head = HEAD.format(threshold=THRESHOLD)
    return "\n".join(
        [
            head,
            summary(samples, trials),
            thresholds(samples, trials),
            confusion(trials),
            mistakes(trials),
            per_bug(samples),
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(text(fingerprints.read(*map(Path, sys.argv[1:2]))))

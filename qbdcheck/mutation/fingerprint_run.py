"""`./check --mutants --fingerprints FILE`: which cases fail on each seeded bug, and how.

Each mutant runs all selected cases, and does not stop at the first failure. Each sample is added to
the file when its run ends, so that the command continues where it was interrupted. Cases that hang
take as long as their time limit; after `MOST_HANGS` of them the other cases of this mutant are not
measured. Not measured means unknown: the comparison ignores such a case.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM
from typing import Any

from mutants.catalogue import is_control
from mutants.mutant import Mutant
from oracles.damage import Damage
from qbdcheck import clock
from qbdcheck.errors import UsageError
from qbdcheck.mutation.expectation import findings_in
from qbdcheck.mutation.mutant_run import END_S, events_of, start
from qbdcheck.programs.process import tail
from qbdcheck.report import fingerprints
from qbdcheck.report.fingerprints import Outcome, Sample
from qbdcheck.report.symptoms import of_event
from qbdcheck.targets.mutant_target import PREFIX

MOST_HANGS = 2
"""Cases that may hang in one sample."""
HANG_S = 20.0
"""Time limit of a case in seconds. The slowest case of the quick group takes one or two."""
SAMPLE_S = 600.0
"""Time limit of one sample in seconds."""


@dataclass
class Progress:
    """The samples in a file. ``add`` writes each of them at once."""

    file: Path
    samples: list[Sample] = field(default_factory=list)

    @classmethod
    def load(cls, file: Path) -> Progress:
        """Return the samples of an earlier run, which may have been interrupted.

        :raise UsageError: the file is compressed, or something else, or cannot be written.
        """
        if file.name.endswith(".gz"):
            raise UsageError(f"{file}: write to a name without .gz, and compress it afterwards")
        progress = cls(file, fingerprints.read(file) if file.exists() else [])
        progress.write("")
        return progress

    def has(self, mutant: str, knobs: str, seed: int) -> bool:
        """Return whether a sample has been taken."""
        return any((one.id, one.knobs, one.seed) == (mutant, knobs, seed) for one in self.samples)

    def add(self, sample: Sample) -> None:
        """Append a sample to the file.

        :raise UsageError: the file cannot be written.
        """
        self.samples.append(sample)
        self.write(fingerprints.text_of([sample]))

    def write(self, text: str) -> None:
        """Append to the file.

        :raise UsageError: the file cannot be written.
        """
        try:
            with self.file.open("a", encoding="utf-8") as stream:
                stream.write(text)
        except OSError as error:
            raise UsageError(f"{self.file}: cannot be written: {error.strerror}") from None


def measure(mutant: type[Mutant], knobs: str, seed: int, flags: Sequence[str]) -> Sample:
    """Run cases against a mutant to their end, and return what each of them showed.

    :param flags: arguments of the run: cases, groups, ``-j``. The limit and the seed are set here.
    """
    with tempfile.TemporaryDirectory(prefix="qf", ignore_cleanup_errors=True) as directory:
        here = Path(directory)
        events = here / "events"
        events.touch()
        target = ":".join(filter(None, [PREFIX + mutant.id, knobs]))
        arguments = [*flags, "--timeout", f"{HANG_S:g}", "--seed", str(seed)]
        arguments += ["--events", str(events)]
        run = start(target, arguments, here)
        try:
            cases, cut = _outcomes(events, run.has_ended_within)
        finally:
            run.stop(SIGTERM, END_S)
        if not cases and not cut:
            cut = tail(run.output(), 1)
    group = mutant.__module__.rpartition(".")[2]
    return Sample(mutant.id, group, seed, knobs, cases, cut, is_control(mutant))


def _outcomes(
    events: Path, has_ended_within: Callable[[float], bool]
) -> tuple[dict[str, Outcome], str]:
    """Return the outcomes of the events, and why the run was ended early."""
    cases: dict[str, Outcome] = {}
    hangs, deadline_s = 0, clock.now_s() + SAMPLE_S
    for event in events_of(events, has_ended_within):
        outcome = outcome_of(event)
        if outcome is not None:
            cases[f"{event['number']:03d}"] = outcome
            hangs += Damage.HANG.value in outcome.damage
        if hangs >= MOST_HANGS:
            return cases, f"{hangs} cases did not end within {HANG_S:g} s"
        if clock.now_s() > deadline_s:
            return cases, f"the sample did not end within {SAMPLE_S:g} s"
    return cases, ""


def outcome_of(event: Mapping[str, Any]) -> Outcome | None:
    """Return what a case showed; None for another event, and for a case that was not run."""
    if event.get("event") != "case_ended" or event["verdict"] == "not_run":
        return None
    seconds = round(event["elapsed_s"], 2)
    if event["verdict"] == "pass":
        return Outcome(seconds=seconds)
    symptoms = of_event(event, findings_in(event))
    return Outcome(event["verdict"], symptoms.damage, symptoms.shape, seconds)


def sample_of_events(lines: Sequence[str], mutant: type[Mutant], seed: int) -> Sample:
    """Return the sample of a run's events, as ``--events`` has written them."""
    cases = {}
    for line in lines:
        event = json.loads(line)
        outcome = outcome_of(event)
        if outcome is not None:
            cases[f"{event['number']:03d}"] = outcome
    group = mutant.__module__.rpartition(".")[2]
    return Sample(mutant.id, group, seed, cases=cases, control=is_control(mutant))


def say(sample: Sample) -> None:
    """Print one line on a sample."""
    failed = sum(one.is_bad for one in sample.cases.values())
    line = f"{sample.id:36} seed {sample.seed}: {failed:3} of {len(sample.cases):3} cases failed"
    sys.stdout.write(f"{line}{'; ' if sample.cut else ''}{sample.cut}\n")
    sys.stdout.flush()

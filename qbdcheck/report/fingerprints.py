"""Compare the failures of a run with the fingerprints of seeded bugs: what it looks like.

`./check --mutants --fingerprints FILE` measures fingerprints: for each seeded bug, which cases fail
and with which symptoms. The similarity of a run to a bug is the cosine of two vectors. Their
features are ``case:fail``, ``case:damage:KIND`` and ``case:shape:TEXT`` of each case that was
measured in both. A feature that few bugs have weighs more: its weight is the logarithm of the
number of bugs over the number of those that have it.
"""

from __future__ import annotations

import gzip
import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from qbdcheck.errors import UsageError
from qbdcheck.files import ROOT

FILE = ROOT / "mutants" / "fingerprints.jsonl.gz"
"""The fingerprints that the project ships."""
FORMAT = "raw"
"""The image format under which fingerprints are measured; failures of others are not compared."""
SHOWN = 3
"""Bugs that a run names at most."""
THRESHOLD = 0.7
"""Similarity below which a run looks like nothing that is known; docs/fingerprints.md has what this
and other thresholds cost."""
_LEAST_COMPARED = 5
"""Cases that must have run in both: fewer are too few to say what a run looks like."""
_LEAST_SHARED = 2
"""Cases that must have failed in both, unless the run has a single failure."""
_LEAST_MEASURED = 0.25
"""The share of the run's failures that must have been measured for the bug. Without it a run of
fifteen failures could look exactly like a bug that was measured in one of these cases."""


@dataclass(frozen=True)
class Outcome:
    """What one case showed: ``pass``, or ``fail`` or ``broken`` with its symptoms."""

    verdict: str = "pass"
    damage: tuple[str, ...] = ()
    shape: str = ""
    seconds: float = 0.0

    @property
    def is_bad(self) -> bool:
        """Whether the case failed."""
        return self.verdict != "pass"

    def as_json(self) -> list[Any]:
        """Return the shortest list that `from_json` understands."""
        if not self.is_bad:
            return [self.seconds]
        return [self.seconds, self.verdict, list(self.damage), self.shape]

    @classmethod
    def from_json(cls, members: Sequence[Any]) -> Self:
        """Return the outcome that `as_json` encoded.

        :raise ValueError, IndexError, TypeError: something else made it.
        """
        if len(members) == 1:
            return cls(seconds=float(members[0]))
        seconds, verdict, damage, shape = members
        return cls(str(verdict), tuple(map(str, damage)), str(shape), float(seconds))


Outcomes = Mapping[str, Outcome]
"""What each case showed, by its number, such as ``017``. A case that is not there is unknown."""


@dataclass(frozen=True)
class Sample:
    """One measurement of one seeded bug.

    :ivar cut: why cases after the last one were not measured; "" if all were.
    """

    id: str
    group: str
    seed: int
    knobs: str = ""
    cases: Outcomes = field(default_factory=dict)
    cut: str = ""
    control: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the members of a JSON object."""
        cases = {case: outcome.as_json() for case, outcome in self.cases.items()}
        return {"id": self.id, "group": self.group, "seed": self.seed, "knobs": self.knobs,
                "cut": self.cut, "control": self.control, "cases": cases}  # fmt: skip

    @classmethod
    def from_json(cls, members: Mapping[str, Any]) -> Self:
        """Return the sample that `as_json` encoded.

        :raise ValueError, LookupError, TypeError, AttributeError: something else made it.
        """
        cases = {case: Outcome.from_json(one) for case, one in members["cases"].items()}
        return cls(
            str(members["id"]),
            str(members["group"]),
            int(members["seed"]),
            str(members["knobs"]),
            cases,
            str(members["cut"]),
            bool(members["control"]),
        )


@dataclass(frozen=True)
class Likeness:
    """A seeded bug that a run looks like.

    :ivar score: 0 to 1; 1 means the same cases with the same symptoms.
    :ivar shared: cases that failed in both, the most telling first.
    :ivar explained: the share of the run's failures, of those measured, that the bug has too.
    :ivar compared: the number of cases that ran in both.
    """

    id: str
    group: str
    score: float
    shared: tuple[str, ...] = ()
    explained: float = 0.0
    compared: int = 0


def read(file: Path = FILE) -> list[Sample]:
    """Return the samples of a file, one JSON object a line; a name that ends in .gz is compressed.

    :raise UsageError: the file cannot be read, or a line is no sample.
    """
    opener = gzip.open if file.name.endswith(".gz") else open
    samples = []
    try:
        with opener(file, "rt", encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                try:
                    samples.append(Sample.from_json(json.loads(line)))
                except (ValueError, LookupError, TypeError, AttributeError):
                    raise UsageError(
                        f"{file}: line {number} is no fingerprint; measure the file anew by"
                        " ./check --mutants --fingerprints FILE"
                    ) from None
    except (OSError, EOFError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"{file}: cannot be read: {why}") from None
    return samples


def text_of(samples: Iterable[Sample]) -> str:
    """Return samples as the text of a file, one line each."""
    return "".join(json.dumps(one.as_json(), separators=(",", ":")) + "\n" for one in samples)


def features(case: str, outcome: Outcome) -> Iterator[str]:
    """Give the features of one case that failed; a case that passed has none."""
    if outcome.is_bad:
        yield f"{case}:fail"
        yield from (f"{case}:damage:{kind}" for kind in outcome.damage)
        if outcome.shape:
            yield f"{case}:shape:{outcome.shape}"


def _similarity(one: Likeness) -> tuple[float, int, int, str]:
    """Return the order of bugs: of equal scores, the one with more evidence is first."""
    return -round(one.score, 2), -len(one.shared), -one.compared, one.id


class Fingerprints:
    """The fingerprints of all seeded bugs; a bug with several samples has the mean of them.

    :param samples: controls and samples without a failure are left out.
    """

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples: dict[str, list[Sample]] = {}
        for sample in samples:
            if not sample.control and any(one.is_bad for one in sample.cases.values()):
                self._samples.setdefault(sample.id, []).append(sample)
        self._profiles = {name: _Profile.of(some) for name, some in self._samples.items()}

    def __len__(self) -> int:
        return len(self._profiles)

    @cached_property
    def _weights(self) -> Mapping[str, float]:
        """The weight of each feature."""
        count = len(self._profiles)
        having: Counter[str] = Counter()
        for profile in self._profiles.values():
            having.update(profile.shares.keys())
        return {name: math.log((count + 1) / number) for name, number in having.items()}

    def compare(self, run: Outcomes) -> list[Likeness]:
        """Return all seeded bugs that share a failure with a run, the most similar first."""
        found = (self._likeness(name, run) for name in self._profiles)
        return sorted(filter(lambda one: one.score > 0, found), key=_similarity)

    def looks_like(self, run: Outcomes) -> list[Likeness]:
        """Return up to three seeded bugs that a run looks like; none for a clean run."""
        likely = (one for one in self.compare(run) if one.score >= THRESHOLD)
        return [one for one in likely if self._has_evidence(one, run)][:SHOWN]

    def _has_evidence(self, one: Likeness, run: Outcomes) -> bool:
        """Return whether enough cases, and enough failures of a run, were measured for a bug."""
        failed = [case for case, outcome in run.items() if outcome.is_bad]
        measured = [case for case in failed if case in self._profiles[one.id].measured]
        return (
            one.compared >= _LEAST_COMPARED
            and len(one.shared) >= min(_LEAST_SHARED, len(failed))
            and len(measured) >= _LEAST_MEASURED * len(failed)
        )

    def _likeness(self, name: str, run: Outcomes) -> Likeness:
        profile = self._profiles[name]
        common = run.keys() & profile.measured.keys()
        theirs = profile.within(common)
        ours = {feature: 1.0 for case in common for feature in features(case, run[case])}
        score = self._cosine(ours, theirs)
        failed = {case for case in common if run[case].is_bad}
        shared = {case for case in failed if f"{case}:fail" in theirs}
        telling = sorted(shared, key=lambda case: (-self._weight(f"{case}:fail"), case))
        explained = len(shared) / len(failed) if failed else 0.0
        return Likeness(name, profile.group, score, tuple(telling), explained, len(common))

    def _weight(self, feature: str) -> float:
        return self._weights.get(feature, math.log(len(self._profiles) + 1))

    def _cosine(self, one: Mapping[str, float], other: Mapping[str, float]) -> float:
        product = sum(
            one[name] * other[name] * self._weight(name) ** 2 for name in one.keys() & other.keys()
        )
        return product / (self._norm(one) * self._norm(other)) if product else 0.0

    def _norm(self, vector: Mapping[str, float]) -> float:
        return math.sqrt(sum((share * self._weight(name)) ** 2 for name, share in vector.items()))


@dataclass(frozen=True)
class _Profile:
    """A seeded bug: the share of its samples in which each feature was seen."""

    group: str
    measured: Mapping[str, int]
    shares: Mapping[str, float]

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Self:
        measured: Counter[str] = Counter()
        seen: Counter[str] = Counter()
        for sample in samples:
            measured.update(sample.cases.keys())
            for case, outcome in sample.cases.items():
                seen.update(set(features(case, outcome)))
        shares = {name: count / measured[_case_of(name)] for name, count in seen.items()}
        return cls(samples[0].group, measured, shares)

    def within(self, cases: Collection[str]) -> dict[str, float]:
        return {name: share for name, share in self.shares.items() if _case_of(name) in cases}


def _case_of(feature: str) -> str:
    return feature.partition(":")[0]

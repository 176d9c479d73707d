"""The events of a run. The runner emits them; reports subscribe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from oracles.finding import Finding
from qbdcheck.machine_speed import Load
from qbdcheck.verdict import Verdict


@dataclass(frozen=True)
class RunStarted:
    """The header of a run. Times are seconds since the epoch.

    ``facts`` say more of what ran: commit, backend, machine. ``capabilities`` are those that the
    target has, ``withdrawn`` those that its profile says it lacks, whatever it offers.
    ``shard`` is ``I/N`` if the run is a part of a larger one (--shard), else empty.
    """

    run_id: str
    seed: int
    target: str
    formats: tuple[str, ...]
    selected: int
    lanes: int
    started_s: float
    environment: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()
    shard: str = ""


@dataclass(frozen=True)
class CaseStarted:
    """A case begins on a lane. ``case_id`` is the stem, e.g. ``017_discard_reads_zero``."""

    case_id: str
    number: int
    image_format: str
    lane: int
    started_s: float
    last_s: float | None = None


@dataclass(frozen=True)
class TestEnded:
    """A test that a case ran in a guest, such as one of LTP.

    ``outcome`` is pass, fail, timed out, broken, warn or conf; ``elapsed_s`` in seconds; ``said``
    the end of its output, in the events of a run only where it did not pass. ``starved`` is what
    others took of the machine when the test timed out for that reason.
    """

    __test__ = False  # for pytest

    name: str
    outcome: str
    elapsed_s: float
    said: str = ""
    starved: Load | None = None

    @classmethod
    def from_json(cls, members: Mapping[str, Any]) -> TestEnded:
        """Return the test of an object that `dataclasses.asdict` made.

        :raise TypeError: a member is unknown or missing.
        """
        load = members.get("starved")
        return cls(**{**members, "starved": Load(**load) if load else None})


@dataclass(frozen=True)
class GuestTestEnded:
    """A test in a guest ended, and its case runs on. ``case_ended`` has all its tests again."""

    case_id: str
    number: int
    image_format: str
    test: TestEnded


@dataclass(frozen=True)
class FirstTry:
    """The first try of a case that exceeded a time limit while the machine was starved.

    ``message`` names the limit, ``starved`` is the evidence; ``elapsed_s`` in seconds.
    """

    verdict: Verdict
    message: str
    elapsed_s: float
    starved: Load


@dataclass(frozen=True)
class CasePostponed:
    """A case exceeded a time limit while the machine was starved; it runs again at the end, alone.

    The next events of the same case are ``case_started`` and ``case_ended`` of its second try.
    """

    case_id: str
    number: int
    image_format: str
    first_try: FirstTry


@dataclass(frozen=True)
class CaseEnded:
    """A case ended.

    ``elapsed_s`` is in seconds. ``reasons`` say why the case was not run, ``partly_not_run`` which
    parts were not. ``observed`` has the lines of --observe, ``tests`` the tests that ran in a
    guest. ``message`` is the first line of a failure, ``details`` all of it (diff, diagnosis,
    stacks); ``findings`` say what is wrong as data. ``basis`` is what demands that which the case
    checks; for a failure, what the violated demand rests on, if that is known more exactly (see
    qbdcheck.catalogue.basis). ``waived`` has each failure that the profile waives, with its policy.
    ``measures`` count what the case did.
    ``starved`` is what others took of the machine where the verdict is BROKEN for that reason.
    ``first_try``: this is the second try.
    """

    case_id: str
    number: int
    sentence: str
    groups: tuple[str, ...]
    image_format: str
    verdict: Verdict
    elapsed_s: float
    last_s: float | None = None
    reasons: tuple[str, ...] = ()
    partly_not_run: tuple[str, ...] = ()
    message: str = ""
    details: str = ""
    rerun: str = ""
    artefacts: tuple[str, ...] = ()
    seed: int = 0
    path: str = ""
    observed: tuple[str, ...] = ()
    tests: tuple[TestEnded, ...] = ()
    findings: tuple[Finding, ...] = ()
    basis: tuple[str, ...] = ()
    waived: tuple[str, ...] = ()
    measures: dict[str, int] = field(default_factory=dict, hash=False)
    starved: Load | None = None
    first_try: FirstTry | None = None


@dataclass(frozen=True)
class CaseRetried:
    """How often a failed case failed again (--retry), alone, at the end of the run.

    ``failed_same`` of ``runs_same`` runs with the same seed failed, ``failed_other`` of
    ``runs_other`` with other seeds. ``failing_seeds`` are those of the latter that failed.
    """

    case_id: str
    number: int
    image_format: str
    runs_same: int
    failed_same: int
    runs_other: int
    failed_other: int
    failing_seeds: tuple[int, ...] = ()

    @property
    def rate(self) -> str:
        """The rates in words: ``3 of 20, with this seed 20 of 20``."""
        other = f"{self.failed_other} of {self.runs_other}"
        return f"{other}, with this seed {self.failed_same} of {self.runs_same}"


@dataclass(frozen=True)
class Trial:
    """One change of the smallest script that fails as a case did, and what became of it.

    ``step`` is the number of the changed step, from 1; 0: of no single one. ``factor`` is what was
    varied, ``as_is`` how the script has it, ``change`` what it was changed to. ``outcome``:
    ``fails`` (as before the change), ``right``, ``sometimes``, or ``other`` (it was refused, or
    wrong in another way: ``seen``). ``failed`` of ``plays`` plays failed.
    """

    step: int
    factor: str
    as_is: str
    change: str
    outcome: str
    plays: int
    failed: int
    seen: str = ""


@dataclass(frozen=True)
class CaseExperiment:
    """What an experiment after the run found out about a failure, on fresh volumes of the target.

    ``outcome``: ``reproduced``, ``not reproduced`` or ``not tried``; ``sentence`` says it in words.
    ``source`` names the requests that the scripts were made of. ``script`` is the smallest script
    that fails, for ``./check replay``, ``steps`` are its steps in words; ``failed`` of ``plays``
    plays of it failed, and ``saw`` is what one of them saw. ``needed`` are the
    conditions without which it is right, ``indifferent`` what makes no difference, ``unclear`` what
    fails sometimes, each from ``trials``. ``all_plays`` counts every play; ``is_complete`` is False
    if the time was over before all had been tried.
    """

    case_id: str
    number: int
    image_format: str
    outcome: str
    sentence: str
    source: str = ""
    script: str = ""
    steps: tuple[str, ...] = ()
    plays: int = 0
    failed: int = 0
    needed: tuple[str, ...] = ()
    indifferent: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()
    trials: tuple[Trial, ...] = ()
    all_plays: int = 0
    elapsed_s: float = 0.0
    is_complete: bool = True
    saw: str = ""


@dataclass(frozen=True)
class Cause:
    """A cause that explains a part of a run's failures.

    ``kind``: ``contradiction`` (the target claims what its probe refuted), ``pattern`` (what the
    failures share) or ``other``. ``title`` says what they have in common. ``cases`` are the numbers
    of the cases that it explains, ``failures`` counts them (a case can fail under several formats),
    ``share`` is their part of all failures, 0 to 1. ``read_first`` is the case to read, ``example``
    its failure in one sentence, ``rerun`` the command that repeats it. ``script`` is the smallest
    script that fails; "" without one. ``traits``: what most of the failures share, with weights.
    """

    kind: str
    title: str
    cases: tuple[str, ...]
    failures: int
    share: float
    read_first: str
    example: str
    rerun: str = ""
    script: str = ""
    traits: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class LooksLike:
    """A seeded bug with similar failures (docs/fingerprints.md). It is a hint, and no proof.

    ``score`` is 0 to 1. ``breaks`` says what the bug does; ``seen_in`` where it was real. ``cases``
    failed in both, the most telling first. ``explained`` is the share of the run's failures that
    the bug has too, of the cases that were measured with it.
    """

    id: str
    score: float
    breaks: str
    seen_in: str
    cases: tuple[str, ...] = ()
    explained: float = 0.0


@dataclass(frozen=True)
class RunEnded:
    """The end of a run; ``interrupted`` after Ctrl-C, SIGTERM or the suite's time limit.

    ``stopped`` says why the run ended before all its cases had: the signal, the time limit, or
    ``--stop-after``; empty if it did not.
    ``causes`` has the causes of the failures, the likely root first; ``looks_like`` the seeded bugs
    that fail alike. Both are empty if nothing failed.
    """

    elapsed_s: float
    counts: dict[str, int]
    exit_code: int
    interrupted: bool = False
    stopped: str = ""
    causes: tuple[Cause, ...] = ()
    looks_like: tuple[LooksLike, ...] = ()


Event = (
    RunStarted
    | CaseStarted
    | GuestTestEnded
    | CasePostponed
    | CaseEnded
    | CaseRetried
    | CaseExperiment
    | RunEnded
)

"""The events of a run. The runner emits them; reports subscribe."""

from __future__ import annotations

from dataclasses import dataclass, field

from oracles.finding import Finding
from qbdcheck.machine_speed import Load
from qbdcheck.verdict import Verdict


@dataclass(frozen=True)
class RunStarted:
    """The header of a run. Times are seconds since the epoch."""

    run_id: str
    seed: int
    target: str
    formats: tuple[str, ...]
    selected: int
    lanes: int
    started_s: float
    environment: dict[str, str] = field(default_factory=dict)


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
    the end of its output, in the events of a run only where it did not pass.
    """

    __test__ = False  # for pytest

    name: str
    outcome: str
    elapsed_s: float
    said: str = ""


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
    stacks); ``findings`` say what is wrong as data. ``starved`` is what others took of the machine
    where the verdict is BROKEN for that reason. ``first_try``: this is the second try.
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
    starved: Load | None = None
    first_try: FirstTry | None = None


@dataclass(frozen=True)
class RunEnded:
    """The end of a run; ``interrupted`` after Ctrl-C, SIGTERM or the suite's time limit."""

    elapsed_s: float
    counts: dict[str, int]
    exit_code: int
    interrupted: bool = False


Event = RunStarted | CaseStarted | CasePostponed | CaseEnded | RunEnded

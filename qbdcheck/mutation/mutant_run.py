"""A run of cases against one mutant: what became of it, suite by suite."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from signal import SIGTERM
from typing import Any

from mutants.catalogue import is_control
from mutants.mutant import Mutant
from mutants.requests import counted
from qbdcheck import clock
from qbdcheck.errors import UsageError
from qbdcheck.exit_code import ExitCode
from qbdcheck.files import ROOT
from qbdcheck.programs.process import Process, tail
from qbdcheck.report.cause import cause_of
from qbdcheck.targets.mutant_target import COUNT, PREFIX

KILLED, ALIVE, NOT_TESTABLE = "killed", "alive", "not testable here"
_SET_UP = "set-up of the target"
_POLL_S = 0.05
_END_S = 30.0


@dataclass
class Cell:
    """What became of a mutant in one run.

    :ivar state: ``killed``; ``alive``: cases ran, and none saw it; ``not testable here``: none ran,
        or none of those that guard against this bug, for want of a capability.
    :ivar seconds: from the start of the run to the first failure, or to its end.
    :ivar requests: what the mutant's servers had handled by then.
    :ivar named: whether the diagnosis of that failure names the damage that this mutant does.
    :ivar cases: that ran to their end; ``not_run``: that could not run.
    """

    state: str = NOT_TESTABLE
    seconds: float = 0.0
    requests: int = 0
    case: str = ""
    diagnosis: str = ""
    named: bool = False
    cases: int = 0
    not_run: int = 0


@dataclass
class Fate(Cell):
    """What became of one mutant in the whole selection, until its first kill.

    :ivar knobs: as in ``-t mutant:ID:KNOBS``; ``knobs_left_out``: that were meant for all mutants,
        and that this one does not have.
    :ivar suites: with ``--each-suite``, the same by suite, each from a run of its own.
    """

    id: str = ""
    control: bool = False
    knobs: str = ""
    knobs_left_out: str = ""
    suites: dict[str, Cell] = field(default_factory=dict)

    @property
    def is_right(self) -> bool:
        """Mutants die, controls live; what cannot be tested is neither right nor wrong."""
        return self.state == NOT_TESTABLE or (self.state == KILLED) is not self.control

    def as_json(self) -> dict[str, Any]:
        """Return the members of a JSON object."""
        return {"killed": self.state == KILLED, **asdict(self)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Fate:
        """Return what `as_json` told.

        :raise TypeError: it did not.
        """
        names = {one.name for one in fields(cls)}
        known = {name: value for name, value in told.items() if name in names}
        known["suites"] = {name: Cell(**cell) for name, cell in told.get("suites", {}).items()}
        return cls(**known)


@dataclass(frozen=True)
class Runner:
    """Runs cases against mutants.

    :ivar words: of every run's command line: lanes, seed, and so on.
    :ivar guards: bugs by the id of the case that guards against them.
    """

    words: Sequence[str]
    guards: Mapping[str, frozenset[str]]

    def run(self, mutant: type[Mutant], knobs: str, selection: Sequence[str], cell: Cell) -> None:
        """Run the selection until its first failure, and fill the cell.

        A target that does not start is a kill if it does without the bug, and does not when it is
        asked again.

        :raise UsageError: the run cannot start, with this mutant or without.
        """
        refusal = self._attempt(mutant, knobs, selection, cell)
        if refusal:
            self._must_start(selection)
            refusal = self._attempt(mutant, knobs, selection, cell)
        if refusal:
            cell.state, cell.case, cell.diagnosis = KILLED, _SET_UP, refusal
        is_killed = cell.state == KILLED
        cell.named = is_killed and re.search(mutant.shows, cell.diagnosis) is not None

    def _attempt(
        self, mutant: type[Mutant], knobs: str, selection: Sequence[str], cell: Cell
    ) -> str:
        """Run the selection; return why the run could not start, or ""."""
        # A server that was just being started may still make its file of requests.
        with tempfile.TemporaryDirectory(prefix="qm", ignore_cleanup_errors=True) as directory:
            here = Path(directory)
            watch = _Watch(here, self._guarding(mutant), cell)
            target = ":".join(filter(None, [PREFIX + mutant.id, knobs, f"{COUNT}={here}"]))
            words = [*selection, *self.words, "--events", str(watch.events)]
            run, started_s = _start(target, words, here), clock.now_s()
            try:
                watch.until_failure(run)
            finally:
                cell.seconds = round(clock.now_s() - started_s, 2)
                cell.requests = counted(here)
                # Not SIGINT: who is started in the background of a shell ignores that.
                code = run.stop(SIGTERM, _END_S)
            last = tail(run.output(), 1)
            is_refused = (
                cell.state != KILLED and code == ExitCode.USAGE and last.startswith("check: ")
            )
            return last.removeprefix("check: ") if is_refused else ""

    def _guarding(self, mutant: type[Mutant]) -> frozenset[str]:
        """The ids of the cases that guard against this bug, or against that of which it is one."""
        if is_control(mutant):
            return frozenset()
        variant = re.search(r"variant (?:\w+ )?of (\S+)$", mutant.source)
        bugs = {mutant.id, *(variant.groups() if variant else ())}
        return frozenset(case for case, guarded in self.guards.items() if guarded & bugs)

    def _must_start(self, selection: Sequence[str]) -> None:
        """:raise UsageError: the reference backend without a bug does not start either."""
        with tempfile.TemporaryDirectory(prefix="qm") as directory:
            words = [*selection, *self.words, "--dry-run"]
            run = _start(f"{PREFIX}control-plain", words, Path(directory))
            while not run.has_ended_within(_POLL_S):
                pass
            if run.stop(SIGTERM, _END_S) == ExitCode.USAGE:
                raise UsageError(tail(run.output(), 1).removeprefix("check: "))


def _start(target: str, words: Sequence[str], here: Path) -> Process:
    argv = [sys.executable, "-m", "qbdcheck", "-t", target, *words]
    # Its durations and its last run are not those of the user.
    return Process(argv, here, "check", env={"XDG_CACHE_HOME": str(here)}, cwd=ROOT)


class _Watch:
    """Reads the events of a run, and says in a cell what became of the mutant.

    :ivar events: the file for ``--events``.
    """

    def __init__(self, here: Path, guarding: frozenset[str], cell: Cell) -> None:
        self.events = here / "events"
        self.events.touch()
        self._guarding = guarding
        self._cell = cell
        self._not_run: set[str] = set()
        self._ran: set[str] = set()

    def until_failure(self, run: Process) -> None:
        """Return when a case has failed, or the run has ended."""
        for event in self._told(run.has_ended_within):
            verdict = str(event.get("verdict", "")).lower().replace("_", " ")
            if not verdict:
                continue
            (self._not_run if verdict == "not run" else self._ran).add(event["case_id"])
            if verdict in ("fail", "broken"):
                cell = self._cell
                cell.state, cell.case = KILLED, event["case_id"]
                cell.diagnosis = cause_of(event["message"], event.get("details", ""))
                break
            self._judge()
        self._cell.cases, self._cell.not_run = len(self._ran), len(self._not_run)

    def _judge(self) -> None:
        """Say alive only where a case has looked that could have seen it."""
        guarding = self._guarding & (self._ran | self._not_run)
        is_tested = bool(self._ran) and (not guarding or not guarding <= self._not_run)
        self._cell.state = ALIVE if is_tested else NOT_TESTABLE

    def _told(self, has_ended_within: Callable[[float], bool]) -> Iterator[dict[str, Any]]:
        """Yield the events as the run writes them, until it ends."""
        with self.events.open(encoding="utf-8") as stream:
            rest = ""
            while True:
                ended = has_ended_within(_POLL_S)
                *lines, rest = (rest + stream.read()).split("\n")
                yield from (json.loads(line) for line in lines if line)
                if ended:
                    return

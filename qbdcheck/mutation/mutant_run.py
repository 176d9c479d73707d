"""A run of cases against one mutant, and its result for each suite."""

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
from oracles.damage import Damage
from qbdcheck import clock
from qbdcheck.errors import UsageError
from qbdcheck.exit_code import ExitCode
from qbdcheck.files import ROOT
from qbdcheck.mutation.expectation import findings_in, is_named
from qbdcheck.programs.process import Process, tail
from qbdcheck.report.cause import cause_of
from qbdcheck.runner.reaper import MARK
from qbdcheck.targets.mutant_target import COUNT, PREFIX

KILLED, ALIVE, NOT_READY = "killed", "alive", "not ready"
NOT_TESTABLE = "not testable here"
_SET_UP = "set-up of the target"
_POLL_S = 0.05
END_S = 30.0


@dataclass
class Cell:
    """The result of one run against a mutant.

    :ivar state: ``killed``: a case failed; ``alive``: cases ran, and none failed; ``not ready``:
        the mutant's server did not start, but the reference backend starts; ``not testable here``:
        no case ran, or no case that guards against this bug, because the target lacks a capability.
    :ivar seconds: from the start of the run to the first failure, or to its end.
    :ivar requests: the number of requests that the mutant's servers had handled by then.
    :ivar damage: the kinds of damage in this failure.
    :ivar named: whether the diagnosis of that failure names the damage of this mutant.
    :ivar cases: the number of cases that ran to their end; ``not_run``: that could not run.
    :ivar broken: the cases that were BROKEN. They say nothing about the mutant and count as not
        run.
    """

    state: str = NOT_TESTABLE
    seconds: float = 0.0
    requests: int = 0
    case: str = ""
    diagnosis: str = ""
    damage: list[str] = field(default_factory=list)
    named: bool = False
    cases: int = 0
    not_run: int = 0
    broken: list[str] = field(default_factory=list)


@dataclass
class Fate(Cell):
    """The result of one mutant in the whole selection, until its first kill.

    :ivar knobs: as in ``-t mutant:ID:KNOBS``; ``knobs_left_out``: knobs for all mutants that this
        mutant does not have.
    :ivar suites: with ``--each-suite``, the result of the separate run of each suite.
    """

    id: str = ""
    control: bool = False
    knobs: str = ""
    knobs_left_out: str = ""
    suites: dict[str, Cell] = field(default_factory=dict)

    @property
    def is_right(self) -> bool:
        """Whether the result is the intended one: mutants are killed, controls are not.

        A mutant that cannot be tested here counts as right. A server that does not start, and
        one with a broken case and no kill, counts as wrong: nothing is known about it.
        """
        if self.state == NOT_READY or (self.broken and self.state != KILLED):
            return False
        return self.state == NOT_TESTABLE or (self.state == KILLED) is not self.control

    def as_json(self) -> dict[str, Any]:
        """Return the members of a JSON object."""
        return {"killed": self.state == KILLED, **asdict(self)}

    @classmethod
    def from_json(cls, members: Mapping[str, Any]) -> Fate:
        """Return the fate that `as_json` encoded.

        :raise TypeError: the members are not those of a fate.
        """
        names = {one.name for one in fields(cls)}
        known = {name: value for name, value in members.items() if name in names}
        known["suites"] = {name: Cell(**cell) for name, cell in members.get("suites", {}).items()}
        return cls(**known)


@dataclass(frozen=True)
class Runner:
    """Runs cases against mutants.

    :ivar arguments: arguments of every run: lanes, seed, and so on.
    :ivar guards: the bugs that each case guards against, by the id of the case.
    """

    arguments: Sequence[str]
    guards: Mapping[str, frozenset[str]]

    def run(self, mutant: type[Mutant], knobs: str, selection: Sequence[str], cell: Cell) -> None:
        """Run the selection until its first failure, and fill the cell.

        A target that does not start is tried a second time, after the reference backend has
        started. If it fails again, its state is ``not ready``.

        :raise UsageError: the run cannot start, not even on the reference backend.
        """
        self._attempt(mutant, knobs, selection, cell)
        if cell.state == NOT_READY:
            self._must_start(selection)
            cell.state, cell.case, cell.diagnosis, cell.damage = NOT_TESTABLE, "", "", []
            self._attempt(mutant, knobs, selection, cell)
        cell.named = cell.state == KILLED and is_named(mutant, cell.damage, cell.diagnosis)

    def _attempt(
        self, mutant: type[Mutant], knobs: str, selection: Sequence[str], cell: Cell
    ) -> None:
        """Run the selection once, and fill the cell."""
        # A server that is just starting may still create its file of requests.
        with tempfile.TemporaryDirectory(prefix="qm", ignore_cleanup_errors=True) as directory:
            here = Path(directory)
            watch = _Watch(here, self._guarding(mutant), cell)
            target = ":".join(filter(None, [PREFIX + mutant.id, knobs, f"{COUNT}={here}"]))
            arguments = [*selection, *self.arguments, "--events", str(watch.events)]
            run, started_s = start(target, arguments, here), clock.now_s()
            try:
                watch.until_failure(run)
            finally:
                cell.seconds = round(clock.now_s() - started_s, 2)
                cell.requests = counted(here)
                # Not SIGINT: a process in the background of a shell ignores it.
                code = run.stop(SIGTERM, END_S)
            last = tail(run.output(), 1)
            is_over = cell.state in (KILLED, NOT_READY)
            is_refused = not is_over and code == ExitCode.USAGE and last.startswith("check: ")
            if is_refused:
                cell.state, cell.case = NOT_READY, _SET_UP
                cell.diagnosis = last.removeprefix("check: ")

    def _guarding(self, mutant: type[Mutant]) -> frozenset[str]:
        """Return the ids of the cases that guard against this bug, or the bug that it varies."""
        if is_control(mutant):
            return frozenset()
        variant = re.search(r"variant (?:\w+ )?of (\S+)$", mutant.source)
        bugs = {mutant.id, *(variant.groups() if variant else ())}
        return frozenset(case for case, guarded in self.guards.items() if guarded & bugs)

    def _must_start(self, selection: Sequence[str]) -> None:
        """Check that the reference backend without a bug starts.

        :raise UsageError: it does not start.
        """
        with tempfile.TemporaryDirectory(prefix="qm") as directory:
            arguments = [*selection, *self.arguments, "--dry-run"]
            run = start(f"{PREFIX}control-plain", arguments, Path(directory))
            while not run.has_ended_within(_POLL_S):
                pass
            if run.stop(SIGTERM, END_S) == ExitCode.USAGE:
                raise UsageError(tail(run.output(), 1).removeprefix("check: "))


def start(target: str, arguments: Sequence[str], here: Path) -> Process:
    """Start a run of cases against a target, with its caches in a directory of its own."""
    argv = [sys.executable, "-m", "qbdcheck", "-t", target, *arguments]
    # A separate cache: durations and the last run must not mix with those of the user. Without the
    # mark, because the run has a reaper of its own, which must outlive this process too.
    return Process(argv, here, "check", env={"XDG_CACHE_HOME": str(here), MARK: ""}, cwd=ROOT)


class _Watch:
    """Reads the events of a run, and fills a cell.

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
        for event in events_of(self.events, run.has_ended_within):
            verdict = str(event.get("verdict", "")).lower().replace("_", " ")
            if not verdict:
                continue
            if verdict == "broken" and not self._is_not_ready(event):
                self._cell.broken.append(event["case_id"])
                verdict = "not run"
            (self._not_run if verdict == "not run" else self._ran).add(event["case_id"])
            if verdict in ("fail", "broken"):
                self._bad(event)
                break
            self._judge()
        self._cell.cases, self._cell.not_run = len(self._ran), len(self._not_run)

    def _bad(self, event: Mapping[str, Any]) -> None:
        """Fill the cell from the case that failed."""
        cell, findings = self._cell, findings_in(event)
        cell.damage = list(dict.fromkeys(finding.damage.value for finding in findings))
        cell.state = KILLED if event["verdict"] == "fail" else NOT_READY
        cell.case = event["case_id"]
        cell.diagnosis = cause_of(event["message"], event.get("details", ""), findings)

    @staticmethod
    def _is_not_ready(event: Mapping[str, Any]) -> bool:
        """Whether the server did not start; a starved machine is no reason to believe that."""
        damage = {finding.damage for finding in findings_in(event)}
        return Damage.NOT_READY in damage and not event.get("starved")

    def _judge(self) -> None:
        """Set the state to alive, but only if a case ran that can detect the bug."""
        guarding = self._guarding & (self._ran | self._not_run)
        is_tested = bool(self._ran) and (not guarding or not guarding <= self._not_run)
        self._cell.state = ALIVE if is_tested else NOT_TESTABLE


def events_of(events: Path, has_ended_within: Callable[[float], bool]) -> Iterator[dict[str, Any]]:
    """Yield the events of a run from its file as the run writes them, until the run ends."""
    with events.open(encoding="utf-8") as stream:
        rest = ""
        while True:
            ended = has_ended_within(_POLL_S)
            *lines, rest = (rest + stream.read()).split("\n")
            yield from (json.loads(line) for line in lines if line)
            if ended:
                return

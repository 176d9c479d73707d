"""Lanes of a run that are threads of workers instead of children of this process."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qbdcheck import clock
from qbdcheck.report.events import TestEnded
from qbdcheck.runner.case_run import Result, Unit
from qbdcheck.runner.lanes import KILLED, SUITE_TIME_LIMIT, Place, Watcher
from qbdcheck.verdict import Verdict
from qbdcheck.workers import on_worker
from qbdcheck.workers.members import Member
from qbdcheck.workers.pool import Job, Pool


@dataclass
class WorkerLanes:
    """Runs units on the workers of a pool; has the interface of `qbdcheck.runner.lanes.Lanes`.

    :ivar alone: run one unit at a time on each machine.
    """

    pool: Pool
    place: Place
    watcher: Watcher
    alone: bool = False
    stopped: str = ""
    """Why the run was stopped; empty while it is running."""
    _started_s: dict[int, float] = field(default_factory=dict)

    def run(self, units: Iterator[Unit], deadline_s: float = float("inf")) -> None:
        """Run all `units`; return when the last one has ended.

        :param deadline_s: time of the monotonic clock at which running units are given up; the
            others do not start then.
        :raise SetupError: no worker is left.
        """
        jobs = (self._job(unit) for unit in units)
        with _signals_stop(self):
            self.pool.run(
                jobs, self, lambda: self.stopped, deadline_s=deadline_s, alone=self.alone,
                at_deadline=self._give_up,
            )  # fmt: skip

    def stop(self, why: str) -> None:
        """Stop the run; running units have no verdict. Safe in a signal handler."""
        self.stopped = self.stopped or why

    def _give_up(self, running: list[Job], waiting: list[Job]) -> None:
        """Give the units their verdict when the time of the run is over."""
        self.stopped = SUITE_TIME_LIMIT
        for job in running:
            broken = Result(Verdict.BROKEN, f"{KILLED}{SUITE_TIME_LIMIT}")
            self.watcher.finished(job.owner, broken, self._elapsed_s(job), [])
        for job in waiting:
            not_run = Result(Verdict.NOT_RUN, reasons=(SUITE_TIME_LIMIT,))
            self.watcher.finished(job.owner, not_run, 0.0, [])

    def _job(self, unit: Unit) -> Job:
        payload = {
            "case_id": unit.case.case_id,
            "image_format": unit.image_format,
            "run_seed": int(unit.run_seed),
            "repetition": unit.repetition,
            "is_second_try": unit.is_second_try,
        }
        return Job(
            unit.case.case_id,
            on_worker.run_unit,
            payload,
            lambda member: self._can_run(member, unit),
            unit,
        )

    def _can_run(self, member: Member, unit: Unit) -> bool:
        """Return whether a worker has what a unit needs, or no worker has it.

        A unit that no worker can run still starts with --retry; its verdict says why.
        """
        if has_all(member, unit):
            return True
        return not any(has_all(one, unit) for one in self.pool.members.usable)

    def _elapsed_s(self, job: Job) -> float:
        return clock.now_s() - self._started_s.get(id(job), clock.now_s())

    # What the pool calls

    def started(self, job: Job, lane: int) -> None:
        """Report the start of a unit, once."""
        self._started_s[id(job)] = clock.now_s()
        self.watcher.started(job.owner, lane)

    def told(self, job: Job, message: dict[str, Any]) -> None:
        """Report a test in a guest."""
        with contextlib.suppress(TypeError):
            self.watcher.test_ended(job.owner, TestEnded.from_json(message["test"]))

    def ended(self, job: Job, answer: dict[str, Any], member: Member) -> bool:
        """Report the result; let another worker try what this one could not set up."""
        unit: Unit = job.owner
        result = Result.from_bytes(answer["result"].encode())
        if result is None:
            result = Result(Verdict.BROKEN, f"worker {member.name} sent a damaged result")
        if result.setup_failed and self.pool.has_other(job, member):
            return False
        self._started_s.pop(id(job), None)
        directory = self.place.results_dir / unit.name
        artefacts = keep_files(directory, answer.get("files", {}), answer.get("artefacts", []))
        if self.place.show_logs:
            self.watcher.show_log(unit, answer.get("log", ""))
        self.watcher.finished(unit, result, answer["elapsed_s"], artefacts)
        return True

    def broken(self, job: Job, why: str) -> None:
        """Report a unit that no worker can end."""
        elapsed_s = self._elapsed_s(job)
        self._started_s.pop(id(job), None)
        self.watcher.finished(job.owner, Result(Verdict.BROKEN, why, why), elapsed_s, [])

    def tick(self) -> None:
        """Let the reports redraw."""
        self.watcher.tick()


def has_all(member: Member, unit: Unit) -> bool:
    """Return whether a worker has what a unit needs."""
    return unit.key not in member.cannot and unit.key not in member.without_guest


def verdict_before(pool: Pool, unit: Unit) -> Result | None:
    """Return the result of a unit that no worker can run: that of the first; None if one can."""
    usable = pool.members.usable
    if any(unit.key not in one.cannot for one in usable):
        return None
    refused = (Result.from_bytes(one.cannot[unit.key]) for one in usable)
    return next((one for one in refused if one is not None), None)


def keep_files(directory: Path, files: dict[str, bytes], names: list[str]) -> list[Path]:
    """Write the files that came back with a result; return the paths of `names`.

    As on one machine, a full disk loses files, but changes no verdict.
    """
    for name, content in files.items():
        path = directory / name
        if path.resolve().is_relative_to(directory.resolve()):
            with contextlib.suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    return [directory / name for name in names if (directory / name).exists()]


@contextlib.contextmanager
def _signals_stop(lanes: WorkerLanes) -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP stop the run."""
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    numbers = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {
        number: signal.signal(number, lambda number, _: lanes.stop(signal.Signals(number).name))
        for number in numbers
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

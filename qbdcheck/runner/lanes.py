"""Run units in parallel, each in a forked child with a time limit.

One thread with one selector waits for pidfds (the end of a child), pipes (its result) and a wake-up
pipe of the signal handlers. A crash, a hang, a leftover process or a lost result is a
failure of the case; the run continues.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import selectors
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from qbdcheck import clock
from qbdcheck.answers import Answers
from qbdcheck.errors import SetupError
from qbdcheck.machine_speed import work_s
from qbdcheck.report.events import TestEnded
from qbdcheck.runner import subreaper
from qbdcheck.runner.artefacts import (
    TIMELINES,
    describe_stuck,
    keep_artefacts,
    remove_scratch,
    without_runner_frames,
)
from qbdcheck.runner.case_run import Result, Unit, progress_of
from qbdcheck.runner.child import LOG, STACKS, STACKS_SIGNAL, run_child, strays_result
from qbdcheck.runner.evidence import hang
from qbdcheck.runner.reaper import Reaper
from qbdcheck.runner.verdict_rules import too_slow, unless_starved, worse
from qbdcheck.verdict import Verdict

_TICK_S = 0.2
_STACKS_WAIT_S = 0.5
_CHUNK = 1 << 16
_SLOW_GRACE_S = 3.0
"""Seconds after the limit in which a case that is only slow must get another answer."""
_SILENCE_S = 5.0
"""A case that got no answer for longer than this may hang, also if some request ended later."""
SUITE_TIME_LIMIT = "the time limit of the run has expired"
KILLED = "killed: "
"""Start of the message of a case that was ended with the run."""


class Watcher(Protocol):
    """Receives the events of the lanes."""

    def started(self, unit: Unit, lane: int) -> None:
        """Handle the start of `unit` on `lane` (from 0)."""

    def test_ended(self, unit: Unit, test: TestEnded) -> None:
        """Handle the end of a test in a guest; `unit` is still running."""

    def finished(self, unit: Unit, result: Result, elapsed_s: float, artefacts: list[Path]) -> None:
        """Handle the end of `unit` and all its processes."""

    def show_log(self, unit: Unit, log: str) -> None:
        """Show the logs of a unit that has ended; called only with `Place.show_logs`."""

    def tick(self) -> None:
        """Redraw; called a few times a second."""


class UnitRunner(Protocol):
    """What runs the units of a run: `Lanes`, or the workers of a cluster."""

    stopped: str

    def run(self, units: Iterator[Unit], deadline_s: float = float("inf")) -> None:
        """Run all `units`; return when the last one has ended."""

    def stop(self, why: str) -> None:
        """Stop the run. Safe in a signal handler."""


@dataclass
class _Running:
    unit: Unit
    lane: int
    pid: int
    pidfd: int
    reading: int
    scratch: Path
    started_s: float
    started_work_s: float
    answers: Answers
    data: bytearray = field(default_factory=bytearray)
    tests: list[TestEnded] = field(default_factory=list)
    """The tests in a guest that have ended."""
    stuck: str = ""
    """Description of the hang after a time-out; empty before."""
    answered: int | None = None
    """The answers when the limit was over; None before."""
    heard: int = 0
    heard_work_s: float = 0.0
    silence_s: float = 0.0
    """The longest time without an answer, between or after answers, in seconds of work."""

    @property
    def left_s(self) -> float:
        """The seconds of work until the limit of the case is over; negative afterwards."""
        limit_s = self.unit.limit_s
        if limit_s is None:
            return float("inf")
        grace_s = 0.0 if self.answered is None else _SLOW_GRACE_S
        return self.started_work_s + limit_s + grace_s - work_s()

    def listen(self) -> None:
        """Note whether answers have come since the last call."""
        count, now_s = self.answers.count, work_s()
        if count != self.heard:
            self.heard, self.heard_work_s = count, now_s
        elif count:
            self.silence_s = max(self.silence_s, now_s - self.heard_work_s)

    def may_be_slow(self) -> bool:
        """Begin a grace when the limit is over; return False at once if answers do not flow."""
        if self.answered is not None or not self.heard or self.silence_s > _SILENCE_S:
            return False
        self.answered = self.answers.count
        return True

    @property
    def is_slow(self) -> bool:
        """Whether answers flowed until the limit was over, and still after that."""
        flows = self.silence_s <= _SILENCE_S
        return flows and self.answered is not None and self.answers.count > self.answered


@dataclass(frozen=True)
class Place:
    """The directories in which cases run, and those that keep their files."""

    scratch_root: Path
    results_dir: Path
    keep: bool = False
    """Keep the scratch directories of cases."""
    show_logs: str = ""
    """Pattern for the names of log files to show; empty for none."""
    keep_timelines: bool = False
    """Keep the timelines of guests for every verdict."""


class Lanes:
    """`count` lanes that run units until there are none left, or `stop` is called.

    :param numbers: name the scratch directories; from 1 by default.
    """

    def __init__(
        self,
        count: int,
        place: Place,
        reaper: Reaper,
        watcher: Watcher,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self._idle = list(range(count))[::-1]
        self._place = place
        self._reaper = reaper
        self._watcher = watcher
        self._running: dict[int, _Running] = {}
        self._selector = selectors.DefaultSelector()
        self._spared = set(subreaper.children())
        self._numbers = numbers or itertools.count(1)
        self.stopped = ""
        """Why the run was stopped; empty while it is running."""

    def run(self, units: Iterator[Unit], deadline_s: float = float("inf")) -> None:
        """Run all `units`; return when the last one has ended.

        :param deadline_s: time of the monotonic clock at which running cases time out; the others
            do not start then.
        """
        subreaper.become_subreaper()
        with _frozen_heap(), _wake_up_pipe(self._selector, self.stop):
            try:
                self._loop(units, deadline_s)
            finally:
                self._end_all()
        self._selector.close()

    def _loop(self, units: Iterator[Unit], deadline_s: float) -> None:
        while True:
            while self._idle and not self.stopped and (unit := next(units, None)):
                self._start(unit)
            if not self._running:
                return
            self._wait(deadline_s)
            if self.stopped and self.stopped != SUITE_TIME_LIMIT:
                return
            if clock.now_s() >= deadline_s and not self.stopped:
                self.stopped = SUITE_TIME_LIMIT
                for running in list(self._running.values()):
                    self._time_out(running, f"{KILLED}{SUITE_TIME_LIMIT}")

    def stop(self, why: str) -> None:
        """Stop the run and kill running cases without a verdict. Safe in a signal handler.

        After the time limit of the run, which sets verdicts, running cases still end normally.
        """
        self.stopped = self.stopped or why

    def _start(self, unit: Unit) -> None:
        scratch = self._place.scratch_root / format(next(self._numbers), "x")
        try:
            scratch.mkdir(mode=0o700)
            reading, sending = os.pipe()
        except OSError as error:
            raise SetupError(f"cannot create {scratch}: {error.strerror}") from error
        lane = self._idle.pop()
        self._watcher.started(unit, lane)
        runner_pid = os.getpid()
        started_s, started_work_s = clock.now_s(), work_s()
        answered = Answers()
        pid = os.fork()
        if pid == 0:
            self._reaper.leave_to_runner()
            os.close(reading)
            run_child(unit, scratch, sending, runner_pid, answered)
        os.close(sending)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        pidfd = os.pidfd_open(pid)
        running = _Running(
            unit, lane, pid, pidfd, reading, scratch, started_s, started_work_s, answered
        )
        os.set_blocking(reading, False)
        self._running[pid] = running
        self._selector.register(reading, selectors.EVENT_READ, (running, "pipe"))
        self._selector.register(running.pidfd, selectors.EVENT_READ, (running, "pid"))

    def _wait(self, deadline_s: float) -> None:
        left_s = [running.left_s for running in self._running.values() if not running.stuck]
        if not self.stopped:
            left_s.append(deadline_s - clock.now_s())
        for key, _ in self._selector.select(max(0.0, min([_TICK_S, *left_s]))):
            if key.data is None:
                _drain(key.fd)
                continue
            running, what = key.data
            if what == "pipe":
                self._receive(running)
            else:
                self._finish(running)
        for running in list(self._running.values()):
            running.listen()
            if running.left_s <= 0 and not running.stuck and not running.may_be_slow():
                limit_s = running.unit.limit_s
                self._time_out(running, f"timed out after {limit_s:g} s")
        self._watcher.tick()

    def _receive(self, running: _Running) -> None:
        while True:
            try:
                chunk = os.read(running.reading, _CHUNK)
            except BlockingIOError:
                return
            if not chunk:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(running.reading)
                return
            running.data += chunk
            self._tell_progress(running)

    def _tell_progress(self, running: _Running) -> None:
        """Pass on the tests that have ended. Each is a line; the result, at the end, is none."""
        *lines, rest = bytes(running.data).split(b"\n")
        running.data[:] = rest
        for line in lines:
            if (test := progress_of(line)) is not None:
                running.tests.append(test)
                self._watcher.test_ended(running.unit, test)

    def _time_out(self, running: _Running, why: str) -> None:
        """Record where the case hangs, then kill it; `_finish` follows when it has ended."""
        stacks = running.scratch / STACKS
        with contextlib.suppress(OSError):
            os.kill(running.pid, STACKS_SIGNAL)
            give_up_s = clock.now_s() + _STACKS_WAIT_S
            while stacks.stat().st_size == 0 and clock.now_s() < give_up_s:
                clock.pause(0.005)
            clock.pause(0.01)
        running.stuck = f"{why}\n{describe_stuck(running.pid, running.scratch)}"
        subreaper.kill_group(running.pid)

    def _finish(self, running: _Running) -> None:
        """Handle the end of a child: read its result, kill leftovers, call the watcher."""
        elapsed_s = clock.now_s() - running.started_s
        self._receive(running)
        status = subreaper.reap(running.pid) or 0
        self._forget(running)
        strays = subreaper.end_strays(self._spared | set(self._running))
        result = self._result(running, status)
        if not result.tests:  # the case did not come to its end
            result = replace(result, tests=tuple(running.tests))
        if strays and not result.verdict.is_bad:
            result = worse(result, unless_starved(strays_result(strays), running.started_s))
        directory, artefacts = self._place.results_dir / running.unit.name, []
        if result.verdict.is_bad:
            artefacts = keep_artefacts(running.scratch, directory)
        elif self._place.keep_timelines:
            artefacts = keep_artefacts(running.scratch, directory, TIMELINES)
        if self._place.show_logs:
            self._watcher.show_log(running.unit, _logs(running.scratch, self._place.show_logs))
        if self._place.keep:
            artefacts.append(running.scratch)
        else:
            remove_scratch(running.scratch)
        self._watcher.finished(running.unit, result, elapsed_s, artefacts)

    def _result(self, running: _Running, status: int) -> Result:
        if running.stuck:
            message, _, details = running.stuck.partition("\n")
            if message.startswith(KILLED):  # it had not used up its own limit
                return Result(Verdict.BROKEN, message, details)
            late = Result(Verdict.FAIL, message, details, findings=(hang(message),))
            if running.is_slow:
                late = too_slow(late, running.answers.count)
            return unless_starved(late, running.started_s)
        result = Result.from_bytes(bytes(running.data))
        if result is not None and status == 0:
            return result
        text = _text(running.scratch / LOG)
        code = os.waitstatus_to_exitcode(status)
        how = f"exited with {code} without a verdict"
        if code < 0:
            how = f"died by {signal.Signals(-code).name}"
        return Result(
            Verdict.FAIL, f"the case's process {how}", without_runner_frames(text[-_CHUNK:])
        )

    def _forget(self, running: _Running) -> None:
        del self._running[running.pid]
        self._idle.append(running.lane)
        for descriptor in (running.reading, running.pidfd):
            with contextlib.suppress(KeyError):
                self._selector.unregister(descriptor)
            os.close(descriptor)

    def _end_all(self) -> None:
        """Kill all running cases without a verdict."""
        for running in list(self._running.values()):
            subreaper.kill_group(running.pid)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(running.pid, 0)
            self._forget(running)
        subreaper.end_strays(self._spared)


@contextlib.contextmanager
def _frozen_heap() -> Iterator[None]:
    """Disable garbage collection: it writes to pages, which each child would have to copy."""
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.enable()


@contextlib.contextmanager
def _wake_up_pipe(selector: selectors.BaseSelector, stop: Callable[[str], None]) -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP stop the run and wake the selector."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    selector.register(reading, selectors.EVENT_READ, None)
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    numbers = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {
        number: signal.signal(number, lambda caught, _: stop(signal.Signals(caught).name))
        for number in numbers
    }
    old = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(old)
        for number, handler in before.items():
            signal.signal(number, handler)
        selector.unregister(reading)
        os.close(reading)
        os.close(writing)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="backslashreplace")
    except OSError:
        return ""


def _logs(scratch: Path, names: str) -> str:
    """Return the logs whose names match; each log of a program follows its name."""
    first, *others = scratch / LOG, *sorted(scratch.glob(names))
    named = (f"-- {path.name}\n{_text(path)}" for path in others if path != first)
    return _text(first) + "".join(named)


def _drain(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(descriptor, _CHUNK):
            pass

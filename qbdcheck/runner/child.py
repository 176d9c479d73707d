"""Run a case in its forked child, from fork to ``os._exit``.

The child has a process group of its own, is a subreaper, and dies with the runner. It runs in its
scratch directory, writes standard output and error to ``full.log`` there, and sends one `Result`.
"""

from __future__ import annotations

import faulthandler
import gc
import io
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from qbdcheck import answers, clock, machine_speed
from qbdcheck.machine_speed import Limit
from qbdcheck.programs.qemu_version import Version
from qbdcheck.report.events import TestEnded
from qbdcheck.runner import measures, subreaper
from qbdcheck.runner.case_run import Result, Unit, progress_line
from qbdcheck.runner.case_state import (
    ENDED_EARLY,
    EXECUTION,
    EXPERIMENT,
    FINDINGS,
    FULL_LOG,
    IMAGE_FORMAT,
    OBSERVED,
    OUTPUT,
    PARTLY_NOT_RUN,
    SCRATCH,
    SEED,
    TARGET_OPTIONS,
    TEST_ENDED,
    TESTS,
    WAIVED,
)
from qbdcheck.runner.filters import Filters
from qbdcheck.runner.golden import Comparison, Output, compare, find_golden, update
from qbdcheck.runner.reaper import MARK
from qbdcheck.runner.verdict_rules import (
    broken_if_disk_full,
    describe,
    judge,
    unless_starved,
    worse,
)
from qbdcheck.verdict import Verdict

STACKS = "stacks.txt"
"""File in the scratch directory for the Python stacks of a case that timed out."""
STACKS_SIGNAL = signal.SIGUSR1
LOG = "full.log"
_GRACE_S = 0.3
"""Seconds for which a terminated process may still exist after the case."""


def run_child(
    unit: Unit, scratch: Path, sending: int, runner_pid: int, answered: answers.Answers
) -> NoReturn:
    """Run `unit` in this forked process, write the result to the pipe `sending`, and exit.

    :param answered: counts the answers of the target, for the runner.
    """
    answers.begin_case(answered)
    try:
        _leave_the_runner(scratch, runner_pid)

        def test_ended(one: TestEnded) -> None:
            _send(sending, progress_line(one))

        result = run_unit(unit, scratch, test_ended)
        result = _look_for_strays(result)
    except BaseException as error:  # any error must reach the runner
        result = Result(Verdict.BROKEN, f"the runner's child failed: {describe(error)}")
    try:
        sys.stdout.flush()
        sys.stderr.flush()
        _send(sending, result.to_bytes())
    finally:
        os._exit(0)


def _send(sending: int, data: bytes) -> None:
    while data:
        data = data[os.write(sending, data) :]


def _leave_the_runner(scratch: Path, runner_pid: int) -> None:
    os.setpgid(0, 0)
    subreaper.die_with(runner_pid)
    subreaper.become_subreaper()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.chdir(scratch)
    os.environ[MARK] = str(scratch.parent)
    os.environ["TMPDIR"] = str(scratch)
    log = os.open(scratch / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    # New objects: the buffers of the old ones may hold output of the runner.
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), write_through=True)
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), write_through=True)
    stacks = os.open(scratch / STACKS, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    faulthandler.register(STACKS_SIGNAL, stacks, all_threads=True)
    faulthandler.enable(2)
    gc.enable()


def run_unit(
    unit: Unit, scratch: Path, test_ended: Callable[[TestEnded], None] = lambda _: None
) -> Result:
    """Collect and run the case in this process; `scratch` exists and is empty.

    :param test_ended: called after each test that the case runs in a guest.
    """
    try:
        item = unit.collect()
    except BaseException as error:  # an import may raise anything, SystemExit too
        return judge(error, "collect", _traceback(error))
    # It would redirect standard output of all children to one shared file.
    item.config.pluginmanager.unregister(name="capturemanager")
    _fill_case_state(item, unit, scratch)
    item.stash[TEST_ENDED] = test_ended
    machine_speed.THIS.start_anew()
    clock.begin_case()
    started_work_s = machine_speed.work_s()
    phases = ("setup", "call")
    result = Result(Verdict.PASS)
    for when in phases:
        result = broken_if_disk_full(_phase(item, when), scratch)
        if result.verdict is not Verdict.PASS:
            break
    item.stash[FINDINGS] = result.findings
    item.stash[ENDED_EARLY] = result.verdict is Verdict.NOT_RUN
    result = worse(result, _phase(item, "teardown"))
    parts: list[str] = item.stash[PARTLY_NOT_RUN]
    observed: list[str] = item.stash[OBSERVED]
    tests: list[TestEnded] = item.stash[TESTS]
    waived: list[str] = item.stash[WAIVED]
    result = replace(
        result,
        observed=tuple(observed),
        tests=tuple(tests),
        waived=tuple(waived),
        measures=measures.counted(),
        experiment=item.stash.get(EXPERIMENT, None),
    )
    if result.verdict is Verdict.PASS:
        return replace(result, partly_not_run=tuple(parts))
    if result.verdict.is_bad and unit.arbiter is not None:
        limit_s = float("inf") if unit.limit_s is None else unit.limit_s
        left_s = limit_s - (machine_speed.work_s() - started_work_s)
        return unit.arbiter(unit, result, scratch, left_s)
    return result


def _fill_case_state(item: pytest.Item, unit: Unit, scratch: Path) -> None:
    log = scratch / LOG
    item.stash[SCRATCH] = scratch
    item.stash[IMAGE_FORMAT] = unit.image_format
    item.stash[SEED] = unit.seed
    item.stash[FULL_LOG] = log
    item.stash[OUTPUT] = Output(Filters(scratch), log)
    item.stash[PARTLY_NOT_RUN] = []
    item.stash[OBSERVED] = []
    item.stash[TESTS] = []
    item.stash[WAIVED] = []


def _phase(item: pytest.Item, when: str) -> Result:
    """Run one phase of pytest's protocol with all hooks."""
    if when == "teardown":
        call = pytest.CallInfo.from_call(
            lambda: item.ihook.pytest_runtest_teardown(item=item, nextitem=None), "teardown"
        )
    elif when == "setup":
        call = pytest.CallInfo.from_call(
            lambda: item.ihook.pytest_runtest_setup(item=item), "setup"
        )
    else:
        call = pytest.CallInfo.from_call(lambda: item.ihook.pytest_runtest_call(item=item), "call")
    if call.excinfo is None:
        return Result(Verdict.PASS)
    error = call.excinfo.value
    if isinstance(error, GoldenDiffers):
        return Result(Verdict.FAIL, error.comparison.message, error.comparison.diff)
    return judge(error, when, str(item.repr_failure(call.excinfo)))


def _traceback(error: BaseException) -> str:
    if isinstance(error, pytest.Collector.CollectError):
        return str(error)
    info = pytest.ExceptionInfo.from_exception(error)
    return str(info.getrepr(style="short"))


class GoldenDiffers(AssertionError):  # noqa: N818  # a verdict on the output
    """The output of a case differs from its golden file."""

    def __init__(self, comparison: Comparison) -> None:
        super().__init__(f"{comparison.message}\n{comparison.diff}".rstrip())
        self.comparison = comparison


def check_golden(item: pytest.Item, qemu_version: Callable[[], Version]) -> None:
    """Compare the output of a case whose function has returned.

    A case without output needs no golden file, but a case with a golden file must print.

    :param qemu_version: returns the version of the target's QEMU.
    :raise GoldenDiffers: the golden file differs, is missing, has a conflict, or was rewritten.
    """
    execution, target = item.config.stash[EXECUTION], item.config.stash[TARGET_OPTIONS]
    output = item.stash[OUTPUT]
    case_id, image_format = item.path.stem, item.stash[IMAGE_FORMAT]
    golden = find_golden(execution.golden_dir, case_id, image_format, target.cache, qemu_version)
    if golden is None and not output.used:
        return
    default = execution.golden_dir / f"{case_id}.out"
    if execution.update_golden and output.used:
        comparison = update(output.text, golden, default)
    else:
        bad = item.stash[SCRATCH] / f"{(golden or default).name}.bad"
        comparison = compare(output.text, golden, default, bad)
    if comparison.message:
        raise GoldenDiffers(comparison)


def _look_for_strays(result: Result) -> Result:
    """Fail a case that left running processes."""
    grace = Limit(_GRACE_S)
    while strays := subreaper.living(subreaper.descendants()):
        if grace.is_over:
            break
        clock.pause(0.005)
    if not strays:
        return result
    return worse(result, unless_starved(strays_result(strays)))


def strays_result(strays: list[subreaper.Stray]) -> Result:
    """Return the failure of a case that left the processes `strays`."""
    lines = [f"left a process behind: {stray.argv}" for stray in strays]
    return Result(Verdict.FAIL, lines[0], "\n".join(lines))

"""Turn the error that a case raised into a verdict.

FAIL means that the target is wrong: an assertion failed, a program failed, a connection was lost.
BROKEN means that nothing is known about the target: the case raised an error that only a
programming mistake raises, a server did not start, or a time limit was exceeded while others used
the machine ("starved"). In doubt the verdict is FAIL. Both verdicts make the run fail.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from oracles.damage import Damage
from oracles.shadow import Unpromised
from qbdcheck import machine_speed
from qbdcheck.catalogue.basis import is_waived, policies_of
from qbdcheck.errors import CaseBroken, NotReadyError, NotRun, UsageError
from qbdcheck.report.cause import cause_of
from qbdcheck.runner.case_run import Result
from qbdcheck.runner.evidence import basis_of, findings_of, is_late, load_of, was_at_work
from qbdcheck.saved.baseline import Baseline
from qbdcheck.verdict import Verdict

_FULL_BYTES = 1 << 20
"""With less free space than this, a full file system is the more likely cause of a failure."""
_MISTAKES = (
    ArithmeticError,
    AttributeError,
    CaseBroken,
    ImportError,
    LookupError,
    NameError,
    NotImplementedError,
    RecursionError,
    SyntaxError,
    TypeError,
    pytest.FixtureLookupError,
    pytest.Collector.CollectError,
)
"""Errors that a correct case does not raise, whatever the target does."""


def judge(error: BaseException, when: str, details: str) -> Result:
    """Return the result of a case that raised `error`.

    :param when: ``collect``, ``setup``, ``call`` or ``teardown``.
    :param details: the traceback, for the report.
    """
    if isinstance(error, NotRun):
        return Result(Verdict.NOT_RUN, reasons=tuple(error.reasons))
    if isinstance(error, pytest.skip.Exception):
        return Result(Verdict.NOT_RUN, reasons=(error.msg or "skipped without a reason",))
    if isinstance(error, Unpromised):
        return Result(Verdict.NOT_RUN, reasons=(str(error),))
    message = describe(error)
    if when == "collect":
        return Result(Verdict.BROKEN, f"cannot be imported: {message}", details)
    findings = tuple(findings_of(error))
    result = _judge_failure(
        error,
        when,
        Result(Verdict.FAIL, message, details, findings=findings, basis=basis_of(error, findings)),
    )
    return _judge_lateness(error, result) if is_late(error, findings) else result


def _judge_lateness(error: BaseException, late: Result) -> Result:
    """Return the result of a case that exceeded a time limit. Slowness is not FAIL."""
    load = load_of(error)
    if load is not None:
        return starved(late, load)
    result = unless_starved(late)
    if result.verdict is Verdict.FAIL and was_at_work(error):
        return _too_slow(late, "the program was at work until then")
    return result


def _judge_failure(error: BaseException, when: str, failure: Result) -> Result:
    if isinstance(error, _MISTAKES):
        return replace(failure, verdict=Verdict.BROKEN)
    where = "" if when == "call" else f"in {when}: "
    failure = replace(failure, message=where + failure.message)
    if when != "setup" or not isinstance(error, UsageError):
        return failure
    # Without a server, the target was not tested.
    verdict = Verdict.BROKEN if isinstance(error, NotReadyError) else Verdict.FAIL
    return replace(failure, verdict=verdict, setup_failed=True)


def unless_starved(late: Result, started_s: float = 0.0) -> Result:
    """Return the result of a case that exceeded a time limit; BROKEN if the machine was starved.

    The last moments count: limits are in seconds of work, so a limit that was exceeded on an idle
    machine has been exceeded by its last seconds. The findings of a starved case are dropped,
    because they accuse the target.

    :param started_s: time of the monotonic clock when the case started; what was before is no
        excuse.
    """
    load = machine_speed.THIS.recent(since_s=started_s)
    return starved(late, load) if load.is_starved else late


def starved(late: Result, load: machine_speed.Load) -> Result:
    """Return the result of a case that exceeded a time limit while others had the machine."""
    message = f"starved: {late.message}; {load.sentence}"
    details = f"{message}\n\n{late.details}"
    return Result(Verdict.BROKEN, message, details, starved=load)


def too_slow(late: Result, answers: int) -> Result:
    """Return the result of a case whose time is over while the target still answers: BROKEN.

    :param answers: that it got until now.
    """
    return _too_slow(late, f"the target still answers ({answers} answers until now)")


def _too_slow(late: Result, evidence: str) -> Result:
    message = (
        f"{late.message}, but nothing hangs: {evidence}. It is too slow for this limit; give a "
        "longer one with --timeout"
    )
    return Result(Verdict.BROKEN, message, f"{message}\n\n{late.details}")


def broken_if_disk_full(result: Result, scratch: Path) -> Result:
    """Return the result of a case; a FAIL becomes BROKEN if the runner's own disk is full."""
    if result.verdict is not Verdict.FAIL or shutil.disk_usage(scratch).free > _FULL_BYTES:
        return result
    where = scratch.parent.parent
    message = f"{result.message}; {where} is full: set TMPDIR to a larger directory"
    return replace(result, verdict=Verdict.BROKEN, message=message)


class KnownFailure(Protocol):
    """A failure of a case that the target's profile names."""

    @property
    def where(self) -> str:
        """The place where it is documented."""

    @property
    def sometimes(self) -> bool:
        """Whether it depends on timing, so that a pass is right too."""

    @property
    def damage(self) -> Collection[Damage]:
        """The only kinds of damage that it has, if any are named."""


def apply_deviation(result: Result, known: KnownFailure) -> Result:
    """Return the result of a case that the target's profile expects to fail.

    A failure counts as not run, unless it has other damage than the known one. A pass counts as a
    failure, so that profiles stay correct.

    :param known: the deviation. If its failure depends on timing, a pass is a pass, and a time
        limit that was exceeded on a starved machine is that failure.
    """
    is_late = result.starved is not None and known.sometimes
    if (result.verdict is Verdict.FAIL or is_late) and not result.setup_failed:
        if _has_other_damage(result, known):
            return result
        return Result(Verdict.NOT_RUN, reasons=(f"known deviation: {known.where}",))
    if result.verdict is Verdict.PASS and not known.sometimes:
        fix = (
            "the case passes despite its deviation: remove the deviation from the target's profile"
        )
        return Result(Verdict.FAIL, f"{fix} ({known.where})", result.details)
    return result


def _has_other_damage(result: Result, known: KnownFailure) -> bool:
    """Return whether a failure shows more than the known one.

    A case that passes now and then would otherwise always hide wrong contents.
    """
    kinds = {finding.damage for finding in result.findings}
    if known.damage:
        return not kinds <= set(known.damage)
    return known.sometimes and any(kind.rank == 0 for kind in kinds)


def apply_waiver(result: Result, basis: Sequence[str], waives: Collection[str]) -> Result:
    """Return the result of a case; a failure that rests on waived policies only is a pass.

    The note says what was waived. A failure that rests on a MUST or a SHOULD too stays.

    :param basis: that of the failure. :param waives: the policies that the profile waives.
    """
    if result.verdict is not Verdict.FAIL or result.setup_failed or not is_waived(basis, waives):
        return result
    note = f"{' '.join(policies_of(basis))}: {result.message}"
    return Result(
        Verdict.PASS,
        partly_not_run=result.partly_not_run,
        observed=result.observed,
        tests=result.tests,
        basis=result.basis,
        waived=(*result.waived, note),
    )


def apply_baseline(result: Result, baseline: Baseline, key: tuple[str, str]) -> Result:
    """Return the result of a case, judged with the known failures of the target.

    A known failure becomes KNOWN. A case that passes despite its entry fails, so that the baseline
    stays correct. In a known case, damage of another kind is a failure.
    """
    if result.verdict is Verdict.FAIL and not result.setup_failed:
        cause = cause_of(result.message, result.details, result.findings)
        known = baseline.failed(*key, result.findings, cause)
        if known is not None:
            return replace(result, verdict=Verdict.KNOWN, reasons=(known.words,))
        if listed := baseline.of(*key):
            what = ", ".join(listed[0].damage) or listed[0].cause
            details = f"{result.details}\n\nThe baseline of this case has another cause: {what}"
            return replace(result, details=details.strip())
    elif result.verdict is Verdict.PASS and (known := baseline.passed(*key)) is not None:
        message = f"known failure is gone: update the baseline ({baseline.path}: {known.words})"
        return Result(Verdict.FAIL, message, result.details)
    return result


def describe(error: BaseException) -> str:
    """Return the first line of an error, with its type where the text alone is not enough."""
    if isinstance(error, pytest.FixtureLookupError):
        return f"there is no fixture {error.argname!r}"
    text = (str(error).strip().splitlines() or [""])[0]
    name = type(error).__name__
    if isinstance(error, AssertionError | pytest.fail.Exception):
        return text or "an assertion without a message failed"
    if isinstance(error, ConnectionError | TimeoutError) and error.errno is None and " " in text:
        return text  # a sentence of this project; the text of the system has a number
    if type(error).__module__.startswith(("qbdcheck.", "oracles.", "reference_backend.")) and text:
        return text
    return f"{name}: {text}" if text else name


def worse(one: Result, other: Result) -> Result:
    """Return the worse of the results of call and teardown.

    If both are bad, the result is that of the call, with the details and findings of both.
    """
    if not other.verdict.is_bad:
        return one
    if one.verdict.is_bad:
        if other.basis != one.basis:  # not all of the failure rests on the basis of one part
            one = replace(one, basis=())
        details = f"{one.details}\n\nAfterwards: {other.message}\n{other.details}"
        return replace(one, details=details, findings=one.findings + other.findings)
    return other

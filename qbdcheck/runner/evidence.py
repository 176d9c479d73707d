"""Find the data on what is wrong in an error that a case raised.

Oracles return `oracles.finding.Findings`. An error that is raised for findings has them as its
attribute ``findings``. A bare ``assert shadow.check(...) == []`` has no such attribute: then the
findings are among the values of the frame that failed.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import FrameType

import pytest

from oracles.damage import Content, Damage, What
from oracles.damage import error as errno_of
from oracles.displacement import explained
from oracles.finding import Finding, Findings
from oracles.life import Moment
from oracles.promises import policy_after
from qbdcheck.errors import NotReadyError, ProgramError
from qbdcheck.machine_speed import Load, StarvedError
from qbdcheck.programs.qemu_io import IoFailed
from qbdcheck.programs.requests_sent import last_about
from qbdcheck.programs.running import CRASHES
from reference_backend.nbd.errors import NbdError, NbdProtocolError

MOST = 100
"""Maximum number of findings of a case in reports; the most informative come first."""
_STATUS = re.compile(r"qbd:dirty|block status")
_CONTENTS = Damage.STALE.rank
_ANSWERS = (Damage.ERROR, Damage.STATUS, Damage.LENGTH, Damage.PROTOCOL, Damage.OTHER_WRITE)
"""Kinds of damage that are of the answer to a request, where they have no place."""
_ENDS = 5
"""Ends of connections that such a finding has: the last ones."""
_LAST_WRITES = 3
"""Requests that a finding names as those that touched its place last."""
_BY_TEXT = {os.strerror(number): errno_of(number) for number in errno.errorcode}
"""Outcomes by the text that qemu-io prints for them."""
_REWRITTEN = "@py_"
"""Prefixes of the names under which pytest keeps the values of an assertion."""


def findings_of(error: BaseException) -> Findings:
    """Return the findings of a failure, the most informative first."""
    return Findings(map(_with_life, _found_in(error)))


def _with_life(finding: Finding) -> Finding:
    """Return a finding on the answer to a request with what happened to its range before.

    The request is that which the finding names, as the case has sent it.
    """
    if finding.length or finding.life or finding.damage not in _ANSWERS:
        return finding
    sent = last_about(finding.request or finding.remark)
    if sent is None or sent.place is None or sent.history is None:
        return finding
    life = _with_ends(sent.history.life(sent.place), sent.history.moments)
    if finding.damage is Damage.STATUS:
        answers = [at for at, one in enumerate(life) if one.kind == "status"]
        life = life[: answers[-1] + 1] if answers else life
    else:
        at_s = sent.history.clock() if sent.history.clock else None
        what = sent.text.removeprefix("qemu-io ").split()[0]
        text = f"{what}: {finding.seen}" if finding.seen else what
        life = (*life, Moment("error", 0, *sent.place, at_s=at_s, text=text))
    last = sent.history.last_writes(*sent.place, _LAST_WRITES)
    record = sent.history.recorded().then(Moment("error", 0, *sent.place, text=sent.text))
    told = replace(finding, asked=sent.place, life=life, last_writes=last, record=record)
    left_out = sent.history.left_out(sent.place)
    return sent.history.with_relatives(told, sent.place, left_out)


def _with_ends(life: tuple[Moment, ...], moments: Sequence[Moment]) -> tuple[Moment, ...]:
    """Return a life with the ends of all connections behind its first event.

    A server may answer wrongly because another client left.
    """
    known = {id(one) for one in life}
    found = [at for at, one in enumerate(moments) if id(one) in known]
    others = [one for one in moments[found[0] :] if one.kind == "close"] if found else []
    missing = [one for one in others[-_ENDS:] if id(one) not in known]
    return tuple(sorted([*life, *missing], key=lambda one: one.at_s or 0.0)) if missing else life


def _found_in(error: BaseException) -> Findings:
    for one in _chain(error):
        found = _all_findings(getattr(one, "findings", ()))
        if found:
            return _first(found)
    if isinstance(error, AssertionError | pytest.fail.Exception):
        for frame in _frames(error):
            found = Findings(finding for value in _values(frame) for finding in value)
            if found:
                return _first(found)
        return Findings(filter(None, [_of_status(error)]))
    return Findings(filter(None, [_of_type(error)]))


def _of_status(error: BaseException) -> Finding | None:
    """Return a wrong block status that only the text of an assertion tells; None for others."""
    text = (str(error).strip().splitlines() or [""])[0].removeprefix("AssertionError: ")
    if not _STATUS.search(text) or last_about(text) is None:
        return None
    return Finding(Damage.STATUS, remark=text)


def basis_of(error: BaseException, findings: Sequence[Finding]) -> tuple[str, ...]:
    """Return what a failure rests on, where that is known more exactly than for its case, else ().

    The fixture ``policy`` marks an error by its attribute ``basis``. Wrong contents rest on a
    policy where the last request there was a discard, or a write that failed.
    """
    marked: tuple[str, ...] = getattr(error, "basis", ())
    if marked or not findings or any(one.damage.rank != _CONTENTS for one in findings):
        return marked
    policies = {_policy_of(finding) for finding in findings}
    if "" in policies:
        return ()
    return tuple(f"POLICY: {name}" for name in sorted(policies))


def _policy_of(finding: Finding) -> str:
    """Return the policy that wrong contents violate; "" if a MUST promises the contents."""
    return policy_after(finding.last_writes, finding.offset, finding.length)


def _first(findings: Findings) -> Findings:
    """Return each finding once, contents before order, order before answers, causes first."""
    found = sorted(explained(dict.fromkeys(findings)), key=lambda one: one.damage.rank)
    return Findings(found[:MOST])


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Give an error, those of its group, and those that it was raised for or while handling."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        waiting += filter(None, (one.__cause__, one.__context__))


def _frames(error: BaseException) -> Iterator[FrameType]:
    """Give the frames of an error, the innermost first."""
    frames = []
    traceback = error.__traceback__
    while traceback is not None:
        frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    yield from reversed(frames)


def _values(frame: FrameType) -> Iterator[Findings]:
    for name, value in frame.f_locals.items():
        if (
            isinstance(value, Findings)
            or name.startswith(_REWRITTEN)
            or (isinstance(value, list) and value and isinstance(value[0], Finding))
        ):
            yield _all_findings(value)


def _all_findings(value: object) -> Findings:
    """Return the findings of a sequence: its members, or what its members have as ``finding``."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return Findings()
    members = (getattr(one, "finding", one) for one in value)
    return Findings(one for one in members if isinstance(one, Finding))


def _of_type(error: BaseException) -> Finding | None:
    """Return what the type of an error says where no oracle has judged."""
    text = (str(error).strip().splitlines() or [""])[0]
    damage = None
    if isinstance(error, NotReadyError):
        damage = Damage.NOT_READY
    elif isinstance(error, TimeoutError) or _is_time_out(error):
        damage = Damage.HANG
    elif isinstance(error, ProgramError) and (error.returncode or 0) < 0:
        damage = Damage.DIED
    elif isinstance(error, ConnectionError | EOFError | NbdProtocolError):
        damage = Damage.PROTOCOL
    if damage is not None:
        remark = text or type(error).__name__
        notes = _notes_of(error)
        request = _request_of(notes)
        return Finding(damage, request=request, remark=remark, evidence=notes)
    if isinstance(error, IoFailed):
        seen = _BY_TEXT.get(error.reason, Content(What.TEXT, text=error.reason))
        return Finding(Damage.ERROR, expected=errno_of(0), seen=seen, remark=text)
    if isinstance(error, NbdError):
        seen = errno_of(error.errno or 0)
        return Finding(Damage.ERROR, expected=errno_of(0), seen=seen, remark=text)
    return None


def _request_of(notes: Sequence[str]) -> str:
    """Return the request that a wrong reply answers, or that was sent last; "" without any."""
    for before, word in (("answered: ", "in reply to"), ("sent: ", "after")):
        found = [note.removeprefix(before) for note in notes if note.startswith(before)]
        if found:
            return f"{word} {found[-1]}"
    return ""


def _notes_of(error: BaseException) -> tuple[str, ...]:
    """Return the notes of an error and of those that it was raised for."""
    return tuple(note for one in _chain(error) for note in getattr(one, "__notes__", ()))


def is_late(error: BaseException, findings: Findings | tuple[Finding, ...]) -> bool:
    """Return whether a case failed because a time limit was exceeded, and not by wrong data.

    A program that crashed was not slow, whatever its peers report of the lost connection.

    :param findings: those of `findings_of`.
    """
    if any(isinstance(one, ProgramError) and one.returncode in CRASHES for one in _chain(error)):
        return False
    if any(finding.damage.rank < Damage.HANG.rank for finding in findings):
        return False
    late = (TimeoutError, NotReadyError)
    return any(isinstance(one, late) or _is_time_out(one) for one in _chain(error))


def load_of(error: BaseException) -> Load | None:
    """Return what others took of the machine when a limit was exceeded, if the error knows it."""
    return next((one.load for one in _chain(error) if isinstance(one, StarvedError)), None)


def was_at_work(error: BaseException) -> bool:
    """Return whether a program exceeded its time limit and was at work until then."""
    return any(isinstance(one, ProgramError) and one.at_work for one in _chain(error))


def _is_time_out(error: BaseException) -> bool:
    """Return whether a program exceeded its time limit; subclasses have no return code."""
    if isinstance(error, ProgramError) and error.timed_out:
        return True
    return type(error) is ProgramError and error.returncode is None


def hang(text: str) -> Finding:
    """Return the finding of what did not end in time."""
    return Finding(Damage.HANG, remark=text)

"""Requests that an armed rule must fail: what it means where one succeeds.

The counter of the rule tells two bugs apart. If it rose, the disk below failed the request and the
backend hid that. If it did not, the backend reported a request as done that did not reach the disk.
In both cases the data says whether anything is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from oracles.finding import Findings
from qbdcheck.kit.armed_rules import ArmedRules
from qbdcheck.kit.expectations import Caught, wrong_errno
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.disk_io import WrongData

_Error = TypeVar("_Error", bound=BaseException)
_SEED = 3


class NotFailed(AssertionError):  # noqa: N818  # the verdict on a target
    """A request succeeded that the disk below had to fail.

    :ivar findings: what is missing, then the wrong answer.
    """

    def __init__(self, text: str, findings: Findings) -> None:
        super().__init__(text)
        self.findings = findings


@contextmanager
def expect_faulted(  # the request and its fault
    rules: ArmedRules,
    fault: str,
    kind: type[_Error],
    request: str,
    disk: Disk,
    *,
    cut: bool = False,
) -> Iterator[Caught[_Error]]:
    """Run a block in which an armed rule must fail a request; give its exception as ``.value``.

    :param fault: the id of the rule. :param kind: of the exception.
    :param request: what the block requests, for the message.
    :param cut: what the request does is visible only after a power cut.
    :raise NotFailed: the block succeeded; has what is missing on the disk, if anything is.
    """
    before = rules.seen(fault).fired
    caught: Caught[_Error] = Caught()
    try:
        yield caught
    except kind as error:
        caught.value = error
        return
    hits = rules.seen(fault).fired - before
    text = f"{request}: reported as done, but it did not reach the disk below, which fails it"
    if hits:
        times = f" {hits} times" if hits > 1 else ""
        text = f"{request}: the disk below failed it{times}, and the backend reported success"
    missing = _missing(rules, disk, text, cut=cut)
    (answer,) = wrong_errno(request, 0).findings
    raise NotFailed(text, Findings([*missing, replace(answer, follows=text if missing else "")]))


def _missing(rules: ArmedRules, disk: Disk, text: str, *, cut: bool) -> Findings:
    """Return what is wrong on the disk without the fault, with the answer as evidence."""
    rules.heal()
    if cut:
        disk.backend.crash(seed=_SEED)
    try:
        disk.verify()
    except WrongData as error:
        return with_evidence(error.findings, text)
    return Findings()


def with_evidence(findings: Findings, line: str) -> Findings:
    """Return findings of which each has a further line of evidence."""
    return Findings(
        (replace(one, evidence=(*one.evidence, line)) for one in findings), about=findings.about
    )

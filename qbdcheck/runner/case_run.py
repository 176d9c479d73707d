"""One case under one image format: what a lane runs, and its result."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import pytest

from oracles.finding import Finding
from oracles.life import Moment
from oracles.recorded import Recorded
from qbdcheck.catalogue.case import CaseInfo
from qbdcheck.machine_speed import Load
from qbdcheck.report.decode import made_of
from qbdcheck.report.events import CaseExperiment, TestEnded
from qbdcheck.seed import Seed, case_seed
from qbdcheck.verdict import Verdict

_TEXT_LIMIT = 200_000
"""Maximum length of the details that a child sends, in characters; longer text is in the logs."""


@dataclass(frozen=True)
class Unit:
    """A case to be run under one image format.

    ``run_seed`` is the value of ``--seed`` that repeats this unit. ``limit_s`` is None if there is
    no time limit. ``collect`` makes pytest's item in the forked child; it raises what the import
    of the case raises.
    """

    case: CaseInfo
    image_format: str
    run_seed: int
    limit_s: float | None
    collect: Callable[[], pytest.Item]
    repetition: int = 0
    is_second_try: bool = False
    """Whether it runs alone, because the machine was starved at its first try."""
    arbiter: Arbiter | None = None
    """Finds out whether a failure is the fault of QEMU; None if only the target can be to blame."""

    @property
    def key(self) -> tuple[str, str]:
        """(case_id, image_format): the key of durations and of ``--resume``."""
        return self.case.case_id, self.image_format

    @property
    def seed(self) -> Seed:
        """The seed of the case."""
        return case_seed(self.run_seed, *self.key)

    @property
    def name(self) -> str:
        """A name for files: ``017_discard.qcow2``, ``017_discard.qcow2.3`` when repeated."""
        repeated = f".{self.repetition + 1}" if self.repetition else ""
        repeated += ".again" * self.is_second_try
        return f"{self.case.case_id}.{self.image_format}{repeated}"


class Arbiter(Protocol):
    """Decides which program a failed case accuses."""

    def __call__(self, unit: Unit, failed: Result, scratch: Path, left_s: float) -> Result:
        """Return the result that counts.

        :param scratch: directory of the case. :param left_s: seconds of work that the case has
            left.
        """


def progress_line(one: TestEnded) -> bytes:
    """Return the line by which a child tells the runner of a test in a guest."""
    return json.dumps(asdict(one)).encode() + b"\n"


def progress_of(line: bytes) -> TestEnded | None:
    """Return the test that `progress_line` encoded; None if the line is wrong."""
    try:
        return TestEnded.from_json(json.loads(line))
    except (ValueError, TypeError):
        return None


@dataclass(frozen=True)
class Result:
    """The result of a unit. The fields are those of `qbdcheck.report.events.CaseEnded`.

    ``starved``: a time limit was exceeded while others used the machine; the verdict is BROKEN.
    ``setup_failed``: the target or the machine could not be prepared, so no case can run.
    ``basis`` is that of the failure, if it is known more exactly than that of the case.
    ``experiment`` is what an experiment found out, if the unit is one.
    """

    verdict: Verdict
    message: str = ""
    details: str = ""
    reasons: tuple[str, ...] = ()
    partly_not_run: tuple[str, ...] = ()
    setup_failed: bool = False
    observed: tuple[str, ...] = ()
    tests: tuple[TestEnded, ...] = ()
    findings: tuple[Finding, ...] = ()
    basis: tuple[str, ...] = ()
    waived: tuple[str, ...] = ()
    measures: dict[str, int] = field(default_factory=dict, hash=False)
    starved: Load | None = None
    experiment: CaseExperiment | None = None

    def to_bytes(self) -> bytes:
        """Return the bytes for the pipe from the forked child to the runner."""
        fields = asdict(replace(self, findings=())) | {
            "verdict": self.verdict.name,
            "findings": [finding.to_json() for finding in self.findings],
            "record": _record_of(self.findings),
            "message": self.message[:_TEXT_LIMIT],
            "details": self.details[-_TEXT_LIMIT:],
        }
        return json.dumps(fields).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Result | None:
        """Return the result that `to_bytes` encoded; None if the bytes are incomplete or wrong."""
        try:
            fields = json.loads(data)
            return cls(
                Verdict[fields["verdict"]],
                str(fields["message"]),
                str(fields["details"]),
                tuple(map(str, fields["reasons"])),
                tuple(map(str, fields["partly_not_run"])),
                bool(fields["setup_failed"]),
                tuple(map(str, fields["observed"])),
                tuple(TestEnded.from_json(one) for one in fields["tests"]),
                _findings(fields["findings"], fields["record"]),
                tuple(map(str, fields["basis"])),
                tuple(map(str, fields["waived"])),
                measures={str(name): int(one) for name, one in fields["measures"].items()},
                starved=Load(**fields["starved"]) if fields["starved"] else None,
                experiment=made_of(CaseExperiment, one) if (one := fields["experiment"]) else None,
            )
        except (ValueError, LookupError, TypeError):
            return None


def _record_of(findings: tuple[Finding, ...]) -> list[object] | None:
    """Return the first record of findings, and whose it is; None without one."""
    for place, finding in enumerate(findings):
        if (record := finding.record) is not None:
            return [place, record.size, [asdict(one) for one in record.moments]]
    return None


def _findings(encoded: list[Any], recorded: list[Any] | None) -> tuple[Finding, ...]:
    found = [Finding.from_json(one) for one in encoded]
    if recorded is not None:
        place, size, moments = recorded
        record = Recorded(size, tuple(Moment(**one) for one in moments))
        found[place] = replace(found[place], record=record)
    return tuple(found)

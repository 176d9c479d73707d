"""The experiment on a failure, in the form of a case, so that a lane runs it like one."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from oracles.finding import Finding
from oracles.scripts import Script, ScriptError
from qbdcheck.catalogue.case import case
from qbdcheck.kit.experiment import experiment as experiments
from qbdcheck.kit.experiment.bench import Bench
from qbdcheck.pytest_integration.fixtures import capabilities_of, description_of
from qbdcheck.report.events import CaseEnded
from qbdcheck.runner.case_state import (
    EXECUTION,
    EXPERIMENT,
    IMAGE_FORMAT,
    SCRATCH,
    SEED,
    TARGET_OPTIONS,
)
from qbdcheck.targets.session import TargetSession

_SCRIPT = "script.yaml"


@dataclass(frozen=True)
class Task:
    """The failure on which an experiment is made."""

    findings: tuple[Finding, ...]
    artefacts: tuple[str, ...]

    @classmethod
    def of(cls, failed: CaseEnded) -> Task:
        """Return the task of a failed case."""
        return cls(failed.findings, failed.artefacts)

    @property
    def script(self) -> Script | None:
        """The script that the case left."""
        for directory in map(Path, self.artefacts):
            with contextlib.suppress(ScriptError):
                if (path := directory / _SCRIPT).is_file():
                    return Script.read(path)
        return None


TASK = pytest.StashKey[Task]()
"""``item.stash[TASK]``: set before the item runs."""


@case(groups="experiment", formats="any")
def test(request: pytest.FixtureRequest) -> None:
    """This case checks that a failure is repeated on fresh volumes, and under which conditions."""
    stash, config = request.node.stash, request.config
    task = stash[TASK]
    wanted, scripts = experiments.candidates(task.findings, task.script)
    if wanted is None or not scripts:
        stash[EXPERIMENT] = experiments.not_tried(task.findings)
        return

    def open_session(place: Path) -> TargetSession:
        return TargetSession(
            description_of(config),
            config.stash[TARGET_OPTIONS],
            place,
            execution=config.stash[EXECUTION],
            image_format=stash[IMAGE_FORMAT],
            case_id="experiment",
            capabilities=capabilities_of(config),
            ends_server=True,
        )

    bench = Bench(open_session, stash[SCRATCH], stash[SEED])
    lacking = experiments.lacking(task.findings)
    stash[EXPERIMENT] = experiments.Experiment(bench, wanted).run(scripts, lacking)

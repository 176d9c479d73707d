"""The fixtures of docs/case-writer.md that belong to the runner: golden, log, seed, not_run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qbdcheck.runner.case_state import FULL_LOG, OUTPUT, PARTLY_NOT_RUN, SEED
from qbdcheck.runner.golden import Output
from qbdcheck.seed import Seed


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Output:
    """Prints to the case's output, through the filters; compared when the case has returned."""
    output: Output = request.node.stash[OUTPUT]
    return output


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> Seed:
    """The seed of this run of the case; ``seed.stream("workload")`` is a ``random.Random``."""
    value: Seed = request.node.stash[SEED]
    return value


@pytest.fixture
def log(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Writes a line to full.log."""
    path = request.node.stash[FULL_LOG]

    def write(*words: object) -> None:
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(" ".join(map(str, words)) + "\n")

    return write


@pytest.fixture
def not_run(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Says that a part of the case cannot run here, and why; the rest still counts."""
    reasons: list[str] = request.node.stash[PARTLY_NOT_RUN]
    return reasons.append

"""Keys of pytest's stash, through which the plugin and the runner pass state to fixtures.

All keys of an item are set before its fixtures are made.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from oracles.finding import Finding
from qbdcheck.options import Execution, GuestOptions, Options, Reports, Selection, TargetOptions
from qbdcheck.report.events import CaseExperiment, TestEnded
from qbdcheck.runner.golden import Output
from qbdcheck.seed import Seed

SELECTION = pytest.StashKey[Selection]()
"""``config.stash[SELECTION]``: a part of the options, set in pytest_configure; so are the next."""
TARGET_OPTIONS = pytest.StashKey[TargetOptions]()
EXECUTION = pytest.StashKey[Execution]()
REPORTS = pytest.StashKey[Reports]()
GUEST_OPTIONS = pytest.StashKey[GuestOptions]()
SCRATCH = pytest.StashKey[Path]()
"""``item.stash[SCRATCH]``: the case's private 0700 directory; short enough for sockets."""
IMAGE_FORMAT = pytest.StashKey[str]()
"""``item.stash[IMAGE_FORMAT]``: the image format of this run of the case: raw, qcow2, ..."""
SEED = pytest.StashKey[Seed]()
"""``item.stash[SEED]``: the seed of this run of the case, derived from the seed of the run."""
OUTPUT = pytest.StashKey[Output]()
"""``item.stash[OUTPUT]``: the value of the fixture ``golden``; compared after the call."""
OBSERVED = pytest.StashKey[list[str]]()
"""``item.stash[OBSERVED]``: summary lines of --observe."""
TESTS = pytest.StashKey[list[TestEnded]]()
"""``item.stash[TESTS]``: tests that the case ran in a guest; the fixture `runtest` adds them."""
TEST_ENDED = pytest.StashKey[Callable[[TestEnded], None]]()
"""``item.stash[TEST_ENDED]``: tells the runner of a test at once."""
PARTLY_NOT_RUN = pytest.StashKey[list[str]]()
"""``item.stash[PARTLY_NOT_RUN]``: the fixture ``not_run`` appends its reasons here."""
WAIVED = pytest.StashKey[list[str]]()
"""``item.stash[WAIVED]``: the fixture ``policy`` appends what failed and is waived."""
FINDINGS = pytest.StashKey[tuple[Finding, ...]]()
"""``item.stash[FINDINGS]``: what was wrong in setup and call, for the teardown."""
EXPERIMENT = pytest.StashKey[CaseExperiment]()
"""``item.stash[EXPERIMENT]``: what an experiment found out; set by the unit that makes it."""
ENDED_EARLY = pytest.StashKey[bool]()
"""``item.stash[ENDED_EARLY]``: the call found that the case cannot run; for the teardown."""
FULL_LOG = pytest.StashKey[Path]()
"""``item.stash[FULL_LOG]``: the case's full.log; the fixture ``log`` appends to it."""


def store_options(config: pytest.Config, options: Options) -> None:
    """Store the parts of `options` in the stash of `config`."""
    config.stash[SELECTION] = options.selection
    config.stash[TARGET_OPTIONS] = options.target
    config.stash[EXECUTION] = options.execution
    config.stash[REPORTS] = options.reports
    config.stash[GUEST_OPTIONS] = options.guest

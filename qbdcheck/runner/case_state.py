"""Where the plugin leaves what fixtures need: keys of pytest's stash.

All keys of an item are set before its fixtures are made.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from qbdcheck.options import Options
from qbdcheck.report.events import TestEnded
from qbdcheck.runner.golden import Output
from qbdcheck.seed import Seed

OPTIONS = pytest.StashKey[Options]()
"""``config.stash[OPTIONS]``: the options of the run, set in pytest_configure."""
SCRATCH = pytest.StashKey[Path]()
"""``item.stash[SCRATCH]``: the case's private 0700 directory; short enough for sockets."""
IMAGE_FORMAT = pytest.StashKey[str]()
"""``item.stash[IMAGE_FORMAT]``: the image format of this run of the case: raw, qcow2, ..."""
SEED = pytest.StashKey[Seed]()
"""``item.stash[SEED]``: the seed of this run of the case, derived from the seed of the run."""
OUTPUT = pytest.StashKey[Output]()
"""``item.stash[OUTPUT]``: what the fixture ``golden`` returns; compared after the call."""
OBSERVED = pytest.StashKey[list[str]]()
"""``item.stash[OBSERVED]``: lines of what --observe saw."""
TESTS = pytest.StashKey[list[TestEnded]]()
"""``item.stash[TESTS]``: those that the case ran in a guest; the fixture `runtest` adds them."""
PARTLY_NOT_RUN = pytest.StashKey[list[str]]()
"""``item.stash[PARTLY_NOT_RUN]``: the fixture ``not_run`` appends its reasons here."""
FULL_LOG = pytest.StashKey[Path]()
"""``item.stash[FULL_LOG]``: the case's full.log; the fixture ``log`` appends to it."""

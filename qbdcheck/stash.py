"""Where the plugin leaves what fixtures need: keys of pytest's stash."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbdcheck.options import Options

OPTIONS = pytest.StashKey[Options]()
"""``config.stash[OPTIONS]``: the options of the run, set in pytest_configure."""
SCRATCH = pytest.StashKey[Path]()
"""``item.stash[SCRATCH]``: the private 0700 directory of the running case; short enough for sockets."""
IMAGE_FORMAT = pytest.StashKey[str]()
"""``item.stash[IMAGE_FORMAT]``: the image format of this run of the case: raw, qcow2, ..."""

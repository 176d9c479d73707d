"""The clock of the mutants. A test can move it, so that it does not depend on a machine's speed."""

from __future__ import annotations

import os
import time
from pathlib import Path

# A file with the seconds as text, for tests. It is in the environment so that it reaches servers.
VARIABLE = "QBDCHECK_MUTANT_CLOCK"


def now_s() -> float:
    """Return the seconds of a clock that only goes forwards."""
    moved = os.environ.get(VARIABLE)
    return float(Path(moved).read_text("ascii")) if moved else time.monotonic()

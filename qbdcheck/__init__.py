"""The runner: select, run, compare, report; the QEMU programs; the targets; the guest."""

import sys

from qbdcheck.files import INSTALLED, ROOT

# In a wheel the packages oracles, injectors and others are below this one, so that their names do
# not collide with those of other distributions (docs/architecture.md).
if INSTALLED and str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

"""``python -m qbdcheck``: the same as ./check inside the environment that ./check makes."""

import sys

from qbdcheck.cli import main

sys.exit(main())

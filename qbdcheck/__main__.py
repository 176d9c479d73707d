"""``python -m qbdcheck``: the same as ./check inside the environment that ./check makes."""

import sys

from qbdcheck.bootstrap.bytecode import keep_bytecode

keep_bytecode()  # before the imports that it is for

from qbdcheck.cli import main  # noqa: E402

sys.exit(main())

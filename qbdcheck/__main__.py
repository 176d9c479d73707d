"""``python -m qbdcheck``: the same as ./check, inside the environment that ./check makes."""

import sys

from qbdcheck.bootstrap.bytecode import keep_bytecode

keep_bytecode()  # before the imports that profit from it

try:
    from qbdcheck.cli import main
except KeyboardInterrupt:
    sys.exit(130)

sys.exit(main())

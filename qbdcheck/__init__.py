"""The runner: select, run, compare, report; the QEMU programs; the targets.

Cases import from here: ``from qbdcheck import case``.
"""

from qbdcheck.catalogue.case import case
from qbdcheck.errors import CaseBroken, NotRun, ProgramError

__all__ = ["CaseBroken", "NotRun", "ProgramError", "case"]

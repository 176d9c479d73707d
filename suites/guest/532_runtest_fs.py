"""This case checks that files that grow, shrink, move and have holes are right.

How: the tests of suites/guest/runtest/fs, a file in LTP's format, made of what Debian has, on ext4
and on xfs; then each file system's own checker.
Guards: phantom-write, misdirected-write, torn-write, flush-noop.
"""

from pathlib import Path

from qbdcheck.kit import case
from qbdcheck.kit.guest_tools import FILE_SYSTEMS, parse

FILE = Path(__file__).parent / "runtest/fs"


@case(groups="guest runtest slow", programs="qemu-system-x86_64", limit_s=300)
def test(new_disk, guest, runtest):
    for kind in FILE_SYSTEMS:
        system = guest(new_disk("320M", prefill=False))
        runtest(system, kind, parse(FILE.read_text(), FILE.name))
        system.quit()

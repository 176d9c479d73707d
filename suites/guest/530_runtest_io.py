"""This case checks that asynchronous, buffered and synchronous I/O on file systems is right.

How: the tests of suites/guest/runtest/io, a file in LTP's format with programs of Debian, run on
ext4 and on xfs. Then each file system's own checker runs.
Guards: phantom-write, misdirected-write, torn-write, flush-noop.
"""

from pathlib import Path

from qbdcheck.kit import case
from qbdcheck.kit.guest_tools import run_runtest_file

FILE = Path(__file__).parent / "runtest/io"


@case(
    groups="guest runtest slow nightly",
    programs="qemu-system-x86_64",
    limit_s=300,
    basis="MUST: LTP, runtest/io",
)
def test(new_disk, guest, runtest):
    run_runtest_file(FILE, new_disk, guest, runtest)

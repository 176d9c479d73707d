"""This case checks that LTP's group fs passes on ext4 and xfs.

How: the tests of the tree that --ltp names run in a guest, on a volume of 1200 MiB. Then each file
system's own checker runs.
Guards: phantom-write, misdirected-write, torn-write, flush-noop.
"""

from qbdcheck.kit import case
from qbdcheck.kit.guest_tools import run_ltp_groups

GROUPS = ("fs",)


@case(
    groups="guest runtest slow",
    programs="qemu-system-x86_64 mke2fs",
    limit_s=7200,
    basis="MUST: LTP, runtest/fs",
)
def test(new_disk, guest, ltp, runtest):
    run_ltp_groups(GROUPS, ltp, new_disk, guest, runtest)

"""This case checks that LTP's group io passes on ext4 and xfs.

How: the tests of the tree that --ltp names, in a guest, on a volume of 1200 MiB.
Guards: phantom-write, misdirected-write, torn-write, flush-noop.
"""

from qbdcheck.kit import case
from qbdcheck.kit.guest_tools import FILE_SYSTEMS

GROUPS = ("io",)


@case(groups="guest runtest slow", programs="qemu-system-x86_64 mke2fs", limit_s=7200)
def test(new_disk, guest, ltp, runtest):
    entries = [entry for group in GROUPS for entry in ltp.entries(group)]
    for kind in FILE_SYSTEMS:
        system = guest(new_disk("1200M", prefill=False))
        runtest(system, kind, entries, environment=ltp.put_into(system), test_s=600)
        system.quit()

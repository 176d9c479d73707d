"""This case checks that a target whose size differs from the reference is found at once.

How: the volume shrinks, past the comparison. QEMU's blkverify does not compare sizes.
Guards: resize-false-success, size-change-across-reconnect.
Related: size-rounded-down.
"""

from copy import deepcopy

from qbdcheck.kit import case


@case(groups="verify size", requires="resize", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write, golden):
    disk = new_disk("1M")
    true_shadow = deepcopy(disk.shadow)
    disk.resize((1 << 20) - 65536)
    disk.shadow = true_shadow
    for mismatch in dual_write(disk).mismatches:
        golden(mismatch)

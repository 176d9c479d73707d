"""This case checks that a LUN passes the tests of libiscsi for reads, writes and their limits.

How: iscsi-test-cu runs its families of tests on the LUN, which they overwrite: each form of read,
write, verify and compare, with sizes at the limits, and blocks behind the end.
Guards: last-block-overrun, offset-len-overflow, zero-length-op.
"""

from qbdcheck.kit import case
from qbdcheck.kit.libiscsi import check_by_libiscsi

FAMILIES = (
    "Inquiry", "ModeSense6", "TestUnitReady", "ReadCapacity10", "ReadCapacity16", "Read6", "Read10",
    "Read12", "Read16", "Write10", "Write12", "Write16", "WriteVerify10", "WriteVerify16",
    "WriteSame10", "WriteSame16", "Verify10", "Verify16", "CompareAndWrite", "OrWrite",
    "Prefetch10", "Prefetch16",
)  # fmt: skip


@case(
    groups="rw size slow",
    requires="own_driver",
    programs="iscsi-test-cu",
    limit_s=180,
    basis="MUST: SCSI, all",
)
def test(new_disk, run, log):
    check_by_libiscsi(new_disk("64M", prefill=False), FAMILIES, run, log)

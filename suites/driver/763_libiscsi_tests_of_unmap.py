"""This case checks that a thin LUN passes the tests of libiscsi for UNMAP and GET LBA STATUS.

How: iscsi-test-cu unmaps blocks in many ways and reads their status, also behind the end.
Guards: discard-overreach, status-unaligned-eof, zero-length-op.
"""

from qbdcheck.kit import case
from qbdcheck.kit.libiscsi import check_by_libiscsi


@case(
    groups="discard status slow",
    requires="own_driver discard",
    programs="iscsi-test-cu",
    limit_s=60,
    basis=("MUST: SCSI, UNMAP", "MUST: SCSI, GET LBA STATUS"),
)
def test(new_disk, run, log):
    check_by_libiscsi(new_disk("64M", prefill=False), ("Unmap", "GetLBAStatus"), run, log)

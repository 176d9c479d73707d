"""This case checks that a flush that fails in the backend is reported, and a later one works.

How: flushes fail with EIO for a raw client and for qemu-io (which shows it by its exit status).
Then a flush works, the power is cut, and all data must be there.
Guards: flush-error-swallowed, flush-error-once, close-error-lost.
"""

import errno

from qbdcheck.kit import ProgramError, case
from qbdcheck.kit.expectations import expect_failure
from qbdcheck.kit.nbd import Command


@case(
    groups="errors flush crash quick",
    requires="control nbd flush crash",
    basis=("MUST: NBD, NBD_CMD_FLUSH", "POLICY: failure-is-not-sticky"),
)
def test(disk, qemu_io, nbd_io, rules):
    fault = rules.add({"event": "flush_to_disk", "errno": "EIO", "iotype": "flush"})
    io = qemu_io(disk)
    io.write(1 << 20, 65536)
    with expect_failure(ProgramError, "flush and close of qemu-io"):
        io.flush()
        io.close()
    with nbd_io(disk) as client:
        for _ in range(2):
            client.must_refuse(Command.FLUSH, 0, 0, errnos=(errno.EIO,))
        assert rules.seen(fault).fired >= 3, (
            f"expected at least 3 failed flushes, got {rules.seen(fault).fired}"
        )
        rules.heal()
        client.flush()
        disk.backend.crash(seed=3)
    disk.verify()

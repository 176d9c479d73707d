"""This case checks that a flush that fails in the backend is reported, and a later one works.

How: flushes fail with EIO for a raw client and for qemu-io (which shows it by its exit status).
Then a flush works, the power is cut, and all data must be there. Where a failed flush is not
reported, the power is cut at once: what was flushed must be there.
Guards: flush-error-swallowed, flush-error-once, close-error-lost, flush-noop, flush-of-other-queue.
"""

import errno

from qbdcheck.kit import ProgramError, case
from qbdcheck.kit.expectations import expect_result
from qbdcheck.kit.faulted_requests import expect_faulted
from qbdcheck.kit.request_errors import RequestFailed


@case(
    groups="errors flush crash quick",
    requires="control nbd flush crash",
    basis=("MUST: NBD, NBD_CMD_FLUSH", "POLICY: failure-is-not-sticky"),
)
def test(disk, qemu_io, nbd_io, rules):
    fault = rules.add({"event": "flush_to_disk", "errno": "EIO", "iotype": "flush"})
    io = qemu_io(disk)
    io.write(1 << 20, 65536)
    with expect_faulted(rules, fault, ProgramError, "flush and close of qemu-io", disk, cut=True):
        io.flush()
        io.close()
    with nbd_io(disk) as client:
        for _ in range(2):
            with expect_faulted(
                rules, fault, RequestFailed, "FLUSH of a raw client", disk, cut=True
            ) as caught:
                client.flush()
            expect_result(caught.value.errno, errno.EIO, "FLUSH of a raw client")
        fired = rules.seen(fault).fired
        assert fired >= 3, f"expected at least 3 failed flushes, got {fired}"
        rules.heal()
        client.flush()
        disk.backend.crash(seed=3)
    disk.verify()

"""This case checks that data is durable once a flush succeeds after others have failed.

How: writes, a flush that fails above the target, and a flush that succeeds. Then the power of the
target is cut. All data must be there: neither QEMU nor the target may consider it flushed after the
failure.
Guards: flush-error-once, flush-error-swallowed, flush-skip-generation-race, flush-noop.
"""

from errno import EIO

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.expectations import expect_equal, expect_failure
from qbdcheck.kit.nbd import NbdError
from qbdcheck.kit.nbd_requests import write_stamped


@case(groups="inject errors flush export crash", requires="flush crash")
def test(disk, nbd, storage_daemon):
    rules = [error(number=EIO, iotype="flush", once=True)]
    with storage_daemon() as qsd:
        qsd.add(blkdebug(disk.protocol_blockdev(), *rules, node_name="faulty"))
        client = nbd(qsd.export("faulty"))
        for offset in range(0, 4 << 20, 512 << 10):
            write_stamped(client, disk.shadow, offset, 5000)
        with expect_failure(NbdError, "the first FLUSH"):
            client.flush()
        client.flush()
        disk.shadow.flush()
        disk.backend.crash()
        qsd.kill()
    expect_equal(
        disk.shadow.ambiguous(), [], "sectors with more than one permitted content after the flush"
    )
    disk.verify()

"""This case checks that data is durable once a flush succeeds after others have failed.

How: writes, a flush that fails above the target, and a flush that succeeds. Then the power of the
target is cut. All data must be there: neither QEMU nor the target may consider it flushed after the
failure.
Guards: flush-noop.
Related: flush-error-once, flush-error-swallowed, flush-skip-generation-race.
"""

from errno import EIO

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.nbd import Command


@case(
    groups="inject errors flush export crash",
    requires="flush crash",
    basis="MUST: fsync(2), ERRORS",
)
def test(disk, nbd_io, storage_daemon):
    rules = [error(number=EIO, iotype="flush", once=True)]
    with storage_daemon() as qsd:
        qsd.add(blkdebug(disk.protocol_blockdev(), *rules, node_name="faulty"))
        io = nbd_io(qsd.export("faulty"), disk.shadow)
        for offset in range(0, 4 << 20, 512 << 10):
            io.write(offset, 5000)
        io.must_refuse(Command.FLUSH, 0, 0)
        io.flush()
        disk.backend.crash()
        qsd.kill()
    open_ = disk.shadow.ambiguous()
    assert open_ == [], f"sectors {open_} are not durable after a flush that succeeded"
    disk.verify()

"""This case checks that after a failed flush the next one is sent again, until one succeeds.

How: an export over blkdebug whose flushes fail with EIO, ENOSPC and EIO, and then succeed. A raw
client must get each errno in turn on a connection that stays usable, and the written data
must be readable in between.
Related: flush-error-swallowed, flush-error-once, errno-collapsed, error-kills-connection.
"""

from errno import EIO, ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.nbd import Command


@case(groups="inject errors flush export quick", basis="MUST: fsync(2), ERRORS")
def test(disk, nbd_io, storage_daemon):
    rules = [error(number=number, iotype="flush", once=True) for number in (EIO, ENOSPC, EIO)]
    with storage_daemon() as qsd:
        qsd.add(blkdebug(disk.protocol_blockdev(), *rules, node_name="faulty"))
        io = nbd_io(qsd.export("faulty"), disk.shadow)
        io.write(1 << 20, 4096)
        for number in (EIO, ENOSPC):
            io.must_refuse(Command.FLUSH, 0, 0, errnos=(number,))
            io.read(1 << 20, 4096)
        io.must_refuse(Command.FLUSH, 0, 0)
        io.flush()
        io.write(2 << 20, 4096)
        io.flush()
        io.close()
    disk.verify()

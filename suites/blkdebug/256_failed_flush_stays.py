"""This case checks that after a failed flush the next one is sent again, until one succeeds.

How: an export over blkdebug whose flushes fail with EIO, ENOSPC and EIO, and then succeed. A raw
client must get each errno in turn on a connection that stays usable, and what was written must be
there in between.
Guards: flush-error-swallowed, flush-error-once, errno-collapsed, error-kills-connection.
"""

from errno import EIO, ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.expectations import expect_failure, expect_result, expect_same
from qbdcheck.kit.nbd import NbdError


@case(groups="inject errors flush export quick")
def test(disk, nbd, storage_daemon):
    rules = [error(number=number, iotype="flush", once=True) for number in (EIO, ENOSPC, EIO)]
    data = disk.shadow.stamped(1 << 20, 4096)
    with storage_daemon() as qsd:
        qsd.add(blkdebug(disk.protocol_blockdev(), *rules, node_name="faulty"))
        client = nbd(qsd.export("faulty"))
        client.write(1 << 20, data)
        for number in (EIO, ENOSPC):
            with expect_failure(NbdError, "FLUSH") as failed:
                client.flush()
            expect_result(failed.value.errno, number, "FLUSH")
            expect_same(
                client.read(1 << 20, 4096),
                data,
                "a write that was acknowledged is lost after a failed flush",
            )
        with expect_failure(NbdError, "the third FLUSH"):
            client.flush()
        client.flush()
        client.write(2 << 20, data)
        client.flush()
        client.close()
    disk.shadow.write(1 << 20, data)
    disk.shadow.write(2 << 20, data)
    disk.verify()

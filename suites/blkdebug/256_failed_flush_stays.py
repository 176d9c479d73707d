"""This case checks that after a failed flush the next one is sent again, until one has succeeded.

How: an export over blkdebug whose flushes fail with EIO, with ENOSPC, then succeed; our client sees
each errno in turn, on a connection that lives, and what was written is there in between.
Guards: flush-error-swallowed, flush-error-once, errno-collapsed, error-kills-connection.
"""

from errno import EIO, ENOSPC

import pytest

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
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
            with pytest.raises(NbdError) as failed:
                client.flush()
            assert failed.value.errno == number, failed.value
            told = "offset 1048576: a write that was acknowledged is lost after a failed flush"
            assert client.read(1 << 20, 4096) == data, told
        with pytest.raises(NbdError):
            client.flush()
        client.flush()
        client.write(2 << 20, data)
        client.flush()
        client.close()
    disk.shadow.write(1 << 20, data)
    disk.shadow.write(2 << 20, data)
    disk.verify()

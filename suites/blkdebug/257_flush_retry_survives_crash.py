"""This case checks that data is safe once a flush succeeds after others have failed.

How: writes, a flush that fails above the target, a flush that succeeds; then power fails at the
target. All must be there: QEMU may not think it clean after the failure, nor the target.
Guards: flush-error-once, flush-error-swallowed, flush-skip-generation-race, flush-noop.
"""

from errno import EIO

import pytest

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.nbd import NbdError


@case(groups="inject errors flush export crash", requires="flush crash")
def test(disk, nbd, storage_daemon):
    rules = [error(number=EIO, iotype="flush", once=True)]
    with storage_daemon() as qsd:
        qsd.add(blkdebug(disk.protocol_blockdev(), *rules, node_name="faulty"))
        client = nbd(qsd.export("faulty"))
        for offset in range(0, 4 << 20, 512 << 10):
            data = disk.shadow.stamped(offset, 5000)
            client.write(offset, data)
            disk.shadow.write(offset, data)
        with pytest.raises(NbdError):
            client.flush()
        client.flush()
        disk.shadow.flush()
        disk.backend.crash()
        qsd.kill()
    assert disk.shadow.ambiguous() == []
    disk.verify()

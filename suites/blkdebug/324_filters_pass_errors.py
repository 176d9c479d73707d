"""This case checks that filter nodes pass errors on unchanged, and lose no data.

How: throttle, copy-on-read and a raw window over a node that fails a read, a write and a discard.
The errno must arrive, and the same request, repeated, must be done.
Related: errno-collapsed, async-error-ignored, transient-becomes-fatal.
"""

from errno import EIO, ENOMEM, ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, errno_of, error
from qbdcheck.kit.blockdev import over
from qbdcheck.kit.expectations import expect_errno

WINDOW = {"raw": {"offset": 0, "size": 256 << 10}, "throttle": {"throttle_group": "group"}}


@case(groups="inject errors throttle export", basis="MUST: QAPI, BlockdevOptionsThrottle")
def test(new_disk, qemu_io, storage_daemon):
    disk = new_disk("256k")
    for kind in ("throttle", "copy-on-read", "raw"):
        rules = [
            error(number=ENOMEM, iotype="read", sector=100, once=True),
            error(number=ENOSPC, iotype="write", sector=100, once=True),
            error(number=EIO, iotype="discard", sector=200, once=True),
        ]
        with storage_daemon() as qsd:
            group = {"qom-type": "throttle-group", "id": "group", "limits": {}}
            qsd.execute("object-add", group)
            qsd.add(blkdebug(disk.protocol_blockdev(), *rules, node_name="faulty",
                         discard="unmap"))  # fmt: skip
            qsd.add(over(kind, "faulty", "filter", discard="unmap", **WINDOW.get(kind, {})))
            with qemu_io(qsd.export("filter"), shadow=disk.shadow) as io:
                expect_errno(io, "write -P 0x12 50000 8192", ENOSPC)
                io.write(50_000, 8192)
                expect_errno(io, "discard 100k 64k", EIO)
                io.discard(100 << 10, 64 << 10)
            with qemu_io(qsd.export("filter", "again"), shadow=disk.shadow) as io:
                assert errno_of(io, "read 50000 4096") != 0, (
                    f"{kind}: read 50000 4096: expected an error, got success"
                )
        disk.verify()

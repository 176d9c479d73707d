"""This case checks that a read-only daemon refuses each kind of change, and changes nothing.

How: the daemon is started read-only. It offers the feature RO, or clients cannot know it. Writes,
write zeroes and discards of whole blocks are refused on each queue; reads and flushes work.
Guards: virtio-read-only-zeroes.
"""

from qbdcheck.kit import case
from qbdcheck.kit.virtio_blk import RANGE, WANTED, Feature, Kind, VirtioBlk


@case(
    groups="errors quick",
    requires="vhost_user read_only",
    basis=("MUST: virtio, Block Device", "POLICY: refused-request-changes-nothing"),
)
def test(new_disk):
    disk = new_disk(read_only=True)
    for features in (WANTED, WANTED & ~Feature.RO):
        with VirtioBlk(disk, features=features, queues=4) as io:
            assert io.front_end.offered & Feature.RO, "a read-only daemon does not offer RO"
            for kind in (Kind.WRITE, Kind.WRITE_ZEROES, Kind.DISCARD):
                data = bytes(io.block) if kind == Kind.WRITE else RANGE.pack(0, io.block // 512, 0)
                name = kind.name.lower().replace("_", " ")
                io.must_refuse(f"a {name} of {io.block} bytes at 0, read-only", kind, 0, data)
            for queue in range(len(io.requests.queues)):
                io.read(0, io.block, queue=queue)
            io.flush()
    disk.verify()

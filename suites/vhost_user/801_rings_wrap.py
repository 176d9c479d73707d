"""This case checks that each request is completed once where indexes wrap and rings are full.

How: queues of 4 to 256 descriptors whose rings begin shortly before index 65536, filled with reads
until no descriptor is free, several times around: three descriptors for each, or one with a table.
Chains become available one by one and together.
Each must be used exactly once, with its own data, and an interrupt must come for it.
Guards: virtio-index-not-wrapped, virtio-interrupt-lost, virtio-used-twice,
virtio-full-ring-is-empty.
"""

import itertools

from qbdcheck.kit import case
from qbdcheck.kit.virtio_blk import WANTED, Feature, connect, judge, polled, wait_used
from qbdcheck.kit.virtio_reads import Reads

STARTS = (0, 65_530, 65_535, 32_767)


@case(
    groups="rw concurrent quick",
    requires="vhost_user",
    basis=("MUST: virtio, Split Virtqueues", "MUST: QEMU, interop/vhost-user"),
)
def test(disk, seed):
    random = seed.stream("rings")
    without = WANTED & ~Feature.EVENT_IDX
    for size, features in itertools.product((4, 16, 256), (WANTED, without)):
        for start in STARTS:
            with polled(connect(disk, features=features), size, start) as queue:
                reads = Reads(queue, disk.size, random)
                indirect = queue.front_end.features & Feature.INDIRECT_DESC
                for _ in range(6 if size < 256 else 2):
                    tables = bool(indirect and random.random() < 0.5)
                    heads = reads.fill(together=tables or random.random() < 0.5, tables=tables)
                    what = f"{len(heads)} reads on a queue of {size}, from index {start} on"
                    used = wait_used(queue, len(heads), what)
                    assert sorted(used) == sorted(heads), (
                        f"{what}: descriptors {sorted(heads)} were used as {sorted(used)}"
                    )
                    for head in heads:
                        offset, data = reads.take(head, what)
                        judge(disk.shadow, offset, data, f"{what}: a read at {offset}")
    disk.verify()

"""This case checks that a difference in size is found, where QEMU's blkverify finds none.

How: the copy that blkverify compares with is 64 KiB larger than the volume. Reads and writes
succeed without a report, and quorum refuses to open. The dual write names both sizes.
Related: size-rounded-down, size-rounded-up, sparse-tail-dropped.
"""

from copy import deepcopy

from oracles.workload import Kind, Request
from qbdcheck.kit import case

REQUESTS = [(Request(1, Kind.WRITE, 0, 4096),), (Request(2, Kind.READ, 0, 65536),)]


@case(groups="verify size", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write):
    disk = new_disk("1M")
    larger = disk.size + 65536
    verdict = dual_write.by_qemu("blkverify", disk, REQUESTS, size=larger)
    verdict.must_be("", "blkverify with a larger copy", requests=2)
    verdict = dual_write.by_qemu("quorum", disk, REQUESTS, size=larger)
    verdict.must_be("error", "quorum with a larger copy")
    disk.shadow = deepcopy(disk.shadow)
    disk.shadow.resize(larger)
    pair = dual_write(disk)
    text = f"{disk.size - 65536} bytes, not {disk.size}"
    pair.must_find_one(pair.mismatches, damage="size", side="target", text=text)

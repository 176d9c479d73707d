"""This case checks that a difference in size is found, where QEMU's blkverify sees none.

How: the copy that blkverify compares with is 64 KiB larger than the volume; reads and writes go
through without a word, and quorum refuses to open; the dual write names the sizes.
Guards: size-rounded-down, size-rounded-up, sparse-tail-dropped.
"""

from copy import deepcopy

from oracles.workload import Kind, Request
from qbdcheck.kit import case

REQUESTS = [(Request(1, Kind.WRITE, 0, 4096),), (Request(2, Kind.READ, 0, 65536),)]


@case(groups="verify size")
def test(new_disk, dual_write):
    disk = new_disk("1M")
    larger = disk.size + 65536
    verdict = dual_write.by_qemu("blkverify", disk, REQUESTS, size=larger)
    assert (verdict.what, verdict.requests) == ("", 2), verdict
    verdict = dual_write.by_qemu("quorum", disk, REQUESTS, size=larger)
    assert verdict.what == "error", verdict
    disk.shadow = deepcopy(disk.shadow)
    disk.shadow.resize(larger)
    (mismatch,) = dual_write(disk).mismatches
    assert (mismatch.damage, mismatch.side) == ("size", "target"), mismatch
    assert mismatch.text == f"{disk.size - 65536} bytes, not {disk.size}", mismatch

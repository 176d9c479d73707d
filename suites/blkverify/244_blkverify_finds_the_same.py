"""This case checks that blkverify and quorum find damage at the same byte as the dual write.

How: five kinds of damage on the target, one at a time. QEMU's blkverify and quorum report that
there is a difference, and end. The dual write also reports what it is.
Related: silent-bit-flip, misdirected-write, torn-write, phantom-write.
"""

from oracles.workload import Kind, Request
from qbdcheck.kit import case

READ = [(Request(1, Kind.READ, 0, 65536),)]


@case(groups="verify rw", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write, golden):
    disk = new_disk("64K")
    pair = dual_write(disk)
    right = pair.peek(8192, 4096)
    other = pair.peek(32768, 512)
    for data in (
        right[:1000] + bytes([right[1000] ^ 16]) + right[1001:],
        bytes(4096),
        right[:512] + other + right[1024:],
        right[:700] + right[676:1000] + right[1024:],
        right[:1536] + right[1537:2048] + b"x" + right[2048:],
    ):
        pair = dual_write(disk)
        pair.damage(8192, data)
        (mismatch, *_) = pair.run(READ)
        dual_write.close()
        first = mismatch.finding.first_difference
        for driver in ("blkverify", "quorum"):
            verdict = dual_write.by_qemu(driver, disk, READ)
            verdict.must_be("contents", f"{driver} on {mismatch.damage} data", at=first)
        golden(first, mismatch.text)
        restored = dual_write(disk)
        restored.damage(8192, right)
        dual_write.close()

"""This case checks that after a power cut no sector holds data older than its durable contents.

How: each sector is written, flushed, and written repeatedly without a flush; then a cut. A sector
holds the flushed version or a later one, never an earlier one, and never a mixture.
Guards: destage-reorder, torn-write.
Related: journal-slot-overlap, merge-after-issue.
"""

from qbdcheck.kit import case
from qbdcheck.kit.server_ends import cut, rounds

SECTORS, BLOCK = 64, 4096


@case(
    groups="rw flush crash",
    requires="flush sudden_end",
    basis=("MUST: NBD, NBD_CMD_FLUSH", "MUST: NBD, Ordering of messages and writes"),
)
def test(new_disk, qemu_io, seed):
    disk = new_disk("512k")
    for round_ in rounds(5):
        io = qemu_io(disk)
        for number in range(SECTORS):
            io.write(number * 1024, 512)
        io.flush()
        for again in range(3):
            for number in range(0, SECTORS, 8):
                io.write(number * 1024 + again * 512, BLOCK)
        cut(disk, seed + round_)
        io.abandon()
        disk.verify()

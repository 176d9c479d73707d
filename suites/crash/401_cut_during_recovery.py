"""This case checks that more power cuts after a power cut change nothing.

How: the volume is read once after the first cut. Then power fails again and again, with no write
and no flush between. The contents must stay the same.
Guards: destage-reorder.
Related: journal-slot-overlap, reopen-different-placement, map-entry-shifted.
"""

from qbdcheck.kit import case
from qbdcheck.kit.server_ends import cut, rounds

KIB = 1 << 10


@case(
    groups="rw flush crash quick",
    requires="flush sudden_end",
    basis=("MUST: NBD, NBD_CMD_FLUSH", "POLICY: sector-writes-are-atomic"),
)
def test(new_disk, qemu_io, seed):
    disk = new_disk("2M")
    for round_ in rounds(3, least=1):
        io = qemu_io(disk)
        for number in range(16):
            io.write(number * 100 * KIB + round_ * 20 * KIB, 40 * KIB)
            if number == 7:
                io.flush()
        cut(disk, seed + 10 * round_)
        io.abandon()
        disk.verify()  # from here on each sector has one permitted content
        open_ = disk.shadow.ambiguous()
        assert open_ == [], f"sectors {open_} have more than one permitted content"
        for again in range(1, 5):
            cut(disk, seed + 10 * round_ + again)
            disk.verify()

"""This case checks that block status tells the truth after a power cut.

How: data, zeroes and discards, half of them flushed, then a cut. Each range that is reported to
read as zeroes must do so, and block status must cover the whole disk. Nothing is written between.
Guards: status-hole-over-dirty, zero-unmap-not-durable.
Related: map-entry-shifted.
"""

from qbdcheck.kit import case
from qbdcheck.kit.server_ends import cut, rounds

KIB = 1 << 10


@case(
    groups="status zero flush crash",
    requires="flush write_zeroes discard block_status sudden_end",
    basis=("MUST: NBD, Metadata contexts", "MUST: NBD, NBD_CMD_FLUSH"),
)
def test(new_disk, qemu_io, qemu_img, seed):
    disk = new_disk("2M", prefill=False)
    for round_ in rounds(4):
        io = qemu_io(disk)
        for number in range(6):
            at = number * 320 * KIB + round_ * 32 * KIB
            io.write(at, 40 * KIB)
            io.write_zeroes(at + 64 * KIB, 64 * KIB, unmap=True)
            io.discard(at + 128 * KIB, 64 * KIB)
            if number == 2:
                io.flush()
        cut(disk, seed + round_)
        io.abandon()
        extents = qemu_img.json("map", "-U", disk.filename)
        covered = sum(extent["length"] for extent in extents)
        assert covered == disk.size, f"the map covers {covered} of {disk.size} bytes"
        data = disk.read_all()
        for extent in extents:
            part = data[extent["start"] : extent["start"] + extent["length"]]
            if extent["zero"]:
                assert not part.any(), f"data in an extent that is reported as zero: {extent}"
        disk.verify()

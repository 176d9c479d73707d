"""This case checks that a resize that is refused changes nothing, and that the next one works.

How: a volume is resized to 2^63 bytes, which no NBD client could use, and then to a usable size; a
new client must see this size, zeroes in the new part and the old data. Likewise the other way
round: a refused resize, then a shrink. A target that accepts such a size is not judged.
Guards: resize-after-refusal-noop.
"""

from qbdcheck.kit import NotRun, ProgramError, QmpFailed, SetupError, case
from qbdcheck.kit.expectations import expect_bytes

MIB = 1 << 20
SIZES = (3, 2, 4)


@case(
    groups="size errors quick",
    requires="raw_requests resize",
    basis=("POLICY: new-size-is-seen", "POLICY: grown-part-reads-zero"),
)
def test(new_disk, nbd_io):
    disk = new_disk(MIB)
    for number, size in enumerate(SIZES):
        old = disk.size
        try:
            disk.backend.resize(1 << 63)
        except (ProgramError, QmpFailed, SetupError):
            pass
        else:
            disk.backend.resize(old)
            raise NotRun("the target accepts a size of 2^63 bytes")
        with nbd_io(disk) as io:
            expect_bytes(io.client.size, old, f"the size after refused resize {number}")
            io.read(0, old)
        disk.resize(size * MIB)
        with nbd_io(disk) as io:
            expect_bytes(io.client.size, disk.size, f"resize {number}, after a refused one")
            io.read(0, disk.size)
            io.write(disk.size - 4096, 4096)
    disk.verify()

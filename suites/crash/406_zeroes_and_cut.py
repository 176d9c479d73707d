"""This case checks that flushed zeroes and discards are durable, alone and as the last change.

How: over durable old data, only zeroes or only discards before the flush, and a write as the last
or as the first change before it; then a cut. Unflushed ones leave each sector old or zero.
Guards: zero-unmap-not-durable, flush-one-child-only.
Related: fua-lost-on-trim.
"""

from qbdcheck.kit import case
from qbdcheck.kit.server_ends import cut

KIB = 1 << 10


@case(
    groups="zero discard flush crash",
    requires="flush write_zeroes discard sudden_end",
    basis=(
        "MUST: NBD, NBD_CMD_FLUSH",
        "MUST: NBD, NBD_CMD_WRITE_ZEROES",
        "POLICY: discard-old-or-zero",
        "POLICY: sector-writes-are-atomic",
    ),
)
def test(new_disk, qemu_io, seed):
    disk = new_disk("2M")
    orders = ("zero", "unmap", "discard", "zero write", "write unmap", "discard zero write")
    for round_, order in enumerate(orders):
        io = qemu_io(disk)
        start = round_ * 300 * KIB
        for number, kind in enumerate(order.split()):
            at = start + number * 90 * KIB
            if kind == "discard":
                io.discard(at, 64 * KIB)
                before = io.read(at, 64 * KIB)  # old or zero, and the same later
            elif kind == "write":
                io.write(at, 30 * KIB)
            else:
                io.write_zeroes(at + 512, 64 * KIB, unmap=kind == "unmap")
        io.flush()
        io.write_zeroes((start + 1024 * KIB) % disk.size, 100 * KIB, unmap=True)
        cut(disk, seed + round_)
        io.abandon()
        disk.verify()
        if order == "discard":
            with qemu_io(disk) as io:
                after = io.read(start, 64 * KIB)
                assert after == before, f"discarded {64 * KIB} bytes at {start}: other data later"

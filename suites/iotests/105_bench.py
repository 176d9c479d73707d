"""This case checks that `qemu-img bench` writes its pattern in the right places, and reads change
nothing.

How: reads and writes with several depths, sizes, steps and flush intervals. Afterwards each sector
contains the pattern if a request covered it, and its old data otherwise.
Guards: misdirected-write.
Related: shared-cursor-race, thin-alloc-toctou, overlap-deadlock.
"""

from qbdcheck.kit import case

KIB, MIB = 1 << 10, 1 << 20
WRITES = (  # offset, size, step, count, depth, further arguments
    (0, 4 * KIB, 4 * KIB, 64, 16, ()),
    (MIB + 512, 512, 8 * KIB, 50, 8, ("--flush-interval=10", "--no-drain")),
    (3 * MIB, 64 * KIB, 128 * KIB, 12, 4, ("--flush-interval=4",)),
    (6 * MIB, 16 * KIB, 16 * KIB, 127, 64, ()),
)
TO_THE_END = (7 * MIB, 16 * KIB, 16 * KIB, 64, 64, ())
"""QEMU 11 never writes the last piece of a disk."""


@case(groups="img concurrent", formats="any", basis="MUST: qemu-img(1), bench")
def test(disk, target, qemu_img):
    writes = WRITES if target.qemu_version > (10, 0) else (*WRITES, TO_THE_END)
    for number, (offset, size, step, count, depth, more) in enumerate(writes):
        positional = ("-o", str(offset), "-s", str(size), "-S", str(step), "-c", str(count))
        positional += ("-d", str(depth), "-t", "writeback", *more)
        # bench waits only for its own requests; closing the disk flushes it
        qemu_img("bench", "-q", *positional[: -len(more) or None], disk.filename)
        pattern = 0x41 + number
        qemu_img("bench", "-q", "-w", f"--pattern={pattern}", *positional, disk.filename)
        for request in range(count):
            disk.shadow.pattern(offset + step * request, size, pattern)
        disk.verify()

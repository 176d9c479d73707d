"""This case checks that each sparse size (-S) gives the same data, and holes only where it may.

How: short and long runs of zeroes between stamps. With -S 0 the file has no hole. With larger
sizes, shorter runs of zeroes are copied and longer ones are left out. The bytes are the same each
time.
Related: sparse-tail-dropped, status-hole-over-dirty, alloc-map-rounding-reads-zero.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content, expect_equal

KIB, MIB = 1 << 10, 1 << 20


@case(groups="img convert quick", basis="MUST: qemu-img(1), convert")
def test(new_disk, qemu_io, qemu_img, scratch, log):
    disk = new_disk("2M")
    with qemu_io(disk) as io:
        for number, length in enumerate((512, 4 * KIB, 64 * KIB, 200 * KIB)):
            io.write(256 * KIB * number, 512)
            io.write(256 * KIB * number + 8 * KIB, length, pattern=0)
        io.write(MIB, 512 * KIB, pattern=0)
        io.write(2 * MIB - 512, 512, pattern=0)
        io.write(2 * MIB - 1, 1, pattern=1)
    allocated = {}
    for size in ("0", "512", "4k", "64k", "1M"):
        copy = scratch / f"copy.{size}"
        qemu_img("convert", "-S", size, "-O", "raw", disk.filename, copy)
        expect_content(disk.shadow, 0, copy.read_bytes(), "the copy")
        extents = qemu_img.json("map", "-f", "raw", copy)
        allocated[size] = sum(extent["length"] for extent in extents if extent["data"])
    log(allocated)
    expect_equal(allocated["0"], disk.size, "-S 0: allocated bytes")
    assert allocated["4k"] <= disk.size - 512 * KIB, (
        f"-S 4k: {allocated['4k']} of {disk.size} bytes are allocated, so the zeroes were copied"
    )
    assert allocated["4k"] <= allocated["64k"] <= allocated["1M"], (
        f"a larger -S allocates less: {allocated}"
    )

"""This case checks that a parallel, out-of-order copy to and from a volume is correct.

How: `convert -m 16 -W` keeps sixteen requests in flight and lets them complete in any order. It
copies from the volume to a file, from the file to another volume, and between the two volumes.
Related: shared-cursor-race, thin-alloc-toctou, overlap-deadlock, async-error-ignored.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content, expect_identical


@case(groups="img convert concurrent", basis="MUST: qemu-img(1), convert")
def test(new_disk, qemu_io, qemu_img, scratch):
    one, two = new_disk("12M"), new_disk("12M", prefill=False)
    with qemu_io(one) as io:
        for place in range(12):
            io.write_zeroes((place << 20) + 4096 * place, 300_000, unmap=bool(place % 2))
    copy = scratch / "copy"
    parallel = ("-m", "16", "-W", "-O", "raw")
    qemu_img("convert", *parallel, one.filename, copy)
    expect_content(one.shadow, 0, copy.read_bytes(), "the copy")
    qemu_img("convert", "-n", *parallel, "-f", "raw", copy, two.filename)
    expect_identical(qemu_img, one.filename, two.filename)
    with qemu_io(one) as io:
        io.write(5_000_000, 3_000_000)
    qemu_img("convert", "-n", *parallel, one.filename, two.filename)
    expect_content(one.shadow, 0, two.read_all(), f"volume {two.name}")
    one.verify()

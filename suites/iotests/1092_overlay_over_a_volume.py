"""This case checks that an image over a volume shows the volume where the image was not written.

How: a qcow2 file has the volume as its backing file, as images of distributions are used over HTTP.
Writes go to the image, reads cross the seams, and a flat copy has both. The volume stays the same.
Guards: last-block-overrun, short-read-resume-offset, unaligned-offset-rounded.
"""

from copy import deepcopy

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, node, over
from qbdcheck.kit.expectations import expect_content

KIB = 1 << 10


@case(groups="qcow2 backing convert reading quick", basis="MUST: qemu-img(1), create")
def test(new_disk, qemu_io, qemu_img, scratch, seed):
    disk, random = new_disk("4M"), seed.stream("places")
    shadow = deepcopy(disk.shadow)
    qemu_img("create", "-q", "-f", "qcow2", scratch / "top", str(disk.size))
    file = node("file", filename=str(scratch / "top"))
    image = over("qcow2", file, backing=disk.blockdev(read_only=True))
    with qemu_io(json_filename(image), shadow=shadow) as io:
        for _ in range(20):
            length = random.choice((1, 700, 4 * KIB, 65 * KIB))
            offset = random.randrange(disk.size - length)
            (io.write if random.random() < 0.7 else io.write_zeroes)(offset, length)
            start = max(0, offset - 20 * KIB)
            io.read(start, min(100 * KIB, disk.size - start))
        io.flush()
    flat = scratch / "flat"
    qemu_img("convert", "-W", "-m", "8", "-O", "raw", json_filename(image), flat)
    expect_content(shadow, 0, flat.read_bytes(), "the flat copy")
    disk.verify()

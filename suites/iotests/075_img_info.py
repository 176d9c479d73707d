"""This case checks that `qemu-img info` of a volume reports its format and its exact size.

How: volumes of several sizes that the target makes exactly, queried as JSON. Then an image on a
volume, queried as text: it must report the size of the image, not that of the volume.
Guards: size-rounded-down, config-byteswapped.
Related: size-rounded-up.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal, expect_size
from qbdcheck.kit.nbd_requests import widened
from qbdcheck.kit.volume_limits import size_unit

SIZES = (512, 4096, 65536 + 512, 3 << 20)


@case(groups="img size reading", basis="MUST: qemu-img(1), info")
def test(new_disk, qemu_img, golden, target):
    unit = size_unit(target)
    for size in sorted({widened(0, size, unit)[1] for size in SIZES}):
        disk = new_disk(size, prefill=False)
        info = qemu_img.json("info", disk.filename)
        seen = info["format"], info["virtual-size"]
        expect_equal(seen, ("raw", size), "qemu-img info, format and virtual-size")
    image = new_disk("1M", prefill=False, format="qcow2")
    golden("\n".join(of_the_image(qemu_img("info", image.filename))))
    expect_size(qemu_img, image.filename, 1 << 20)


def of_the_image(printed):
    """Give the lines about the image; those about the host and about the nodes below it differ."""
    in_child = False
    for line in printed.splitlines():
        in_child = line.startswith("Child node") or (in_child and line.startswith("    "))
        if not in_child and not line.startswith(("image:", "disk size:")):
            yield line

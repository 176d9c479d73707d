"""This case checks that `qemu-img info` of a volume says its format and its exact size.

How: volumes of several sizes, asked for in JSON and in words; the size that an image on the volume
claims is that of the image and not that of the volume.
Guards: size-rounded-down, size-rounded-up, config-byteswapped.
"""

from qbdcheck.kit import case

SIZES = (512, 4096, 65536 + 512, 3 << 20)
HOST_LINES = ("image:", "disk size:", "Child node", "    filename:")


@case(groups="img size")
def test(new_disk, qemu_img, golden):
    for size in SIZES:
        disk = new_disk(size, prefill=False)
        info = qemu_img.json("info", disk.filename)
        golden(size, info["format"], info["virtual-size"])
        assert info["virtual-size"] == size == disk.size
    image = new_disk("1M", prefill=False, format="qcow2")
    text = qemu_img("info", image.filename)
    golden("\n".join(line for line in text.splitlines() if not line.startswith(HOST_LINES)))
    assert qemu_img.json("info", image.filename)["virtual-size"] == 1 << 20

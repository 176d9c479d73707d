"""This case checks that the map of an image on a volume is that of the image, as text and as JSON.

How: clusters of a qcow2 image are written in an odd order, and one is zeroed explicitly. The golden
contains where each of them is. The place in the volume that the map names must hold the data.
Guards: map-entry-shifted, misdirected-write.
Related: extents-unsorted.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.expectations import expect_content

KIB = 1 << 10


@case(
    groups="img status qcow2 quick", basis=("MUST: qemu-img(1), map", "MUST: QEMU, interop/qcow2")
)
def test(new_disk, qemu_io, qemu_img, golden):
    image = new_disk("2M", prefill=False, format="qcow2")
    with qemu_io(image) as io:
        for cluster in (9, 3, 4, 30):
            io.write(64 * KIB * cluster, 64 * KIB)
        io.write_zeroes(64 * KIB * 20, 64 * KIB)
    # Three columns of 16 characters; the fourth is the name of the volume's node.
    header, *rows = qemu_img("map", image.filename).splitlines()
    golden(*[line + "\n" for line in (header, *(row[:48].rstrip() for row in rows))])
    below = json_filename(over("raw", image.protocol_blockdev()))
    with qemu_io(below, read_only=True) as volume:
        for extent in qemu_img.json("map", image.filename):
            kind = "data" if extent["data"] else "zero" if extent["zero"] else "nothing"
            golden(extent["start"], extent["length"], kind, extent.get("offset", ""))
            if extent["data"]:
                data = volume.request(f"read -v {extent['offset']} {extent['length']}").data
                expect_content(image.shadow, extent["start"], data, f"the place of {extent}")
    image.verify()

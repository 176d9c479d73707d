"""This case checks that convert of several volumes writes one after the other without a gap.

How: three volumes of odd numbers of sectors become one file and one volume. Each stamp names its
volume and sector.
Guards: extent-boundary-misroute.
Related: wrong-volume-or-lun, cross-connection-state.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content
from qbdcheck.kit.volume_limits import size_unit


@case(groups="img convert quick", basis="MUST: qemu-img(1), convert")
def test(new_disk, qemu_img, scratch, target):
    unit = size_unit(target)
    parts = [new_disk(unit * (units * 512 // unit or 1)) for units in (129, 2047, 1)]
    names = [part.filename for part in parts]
    total = sum(part.size for part in parts)
    copy, whole = scratch / "copy", new_disk(total)
    qemu_img("convert", "-O", "raw", *names, copy)
    qemu_img("convert", "-n", "-O", "raw", *names, whole.filename)
    for what, data in (("file", copy.read_bytes()), ("volume", whole.read_all())):
        assert len(data) == total, f"the {what}: expected {total} bytes, got {len(data)}"
        offset = 0
        for part in parts:
            piece = data[offset : offset + part.size]
            expect_content(part.shadow, 0, piece, f"volume {part.name} in the {what}")
            offset += part.size

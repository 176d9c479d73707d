"""This case checks that convert of several volumes puts one behind the other without a gap.

How: three volumes of odd numbers of sectors become one file, and one volume; each stamp says which
volume and which sector it came from.
Guards: extent-boundary-misroute, wrong-volume-or-lun, cross-connection-state.
"""

from qbdcheck.kit import case


@case(groups="img convert quick")
def test(new_disk, qemu_img, scratch):
    parts = [new_disk(512 * sectors) for sectors in (129, 2047, 1)]
    names = [part.filename for part in parts]
    copy, whole = scratch / "copy", new_disk(512 * (129 + 2047 + 1))
    qemu_img("convert", "-O", "raw", *names, copy)
    qemu_img("convert", "-n", "-O", "raw", *names, whole.filename)
    for data in (copy.read_bytes(), whole.read_all()):
        offset = 0
        for part in parts:
            assert part.shadow.check(0, data[offset : offset + part.size]) == [], part.name
            offset += part.size
        assert offset == len(data)

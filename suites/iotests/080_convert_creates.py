"""This case checks that `convert` without -n, which creates its target, writes a correct copy.

How: a file of stamps with a hole goes onto a prefilled volume, once as raw and once as qcow2. If
QEMU wrongly assumes that a created target is zero, old data stays in the hole.
Guards: phantom-write.
Related: false-zero-init, zero-flags-lost.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.expectations import expect_content, expect_identical, expect_sound

MIB = 1 << 20


@case(groups="img convert quick", basis="MUST: qemu-img(1), convert")
def test(new_disk, qemu_img, scratch):
    volume = new_disk("3M")
    data = bytearray(volume.shadow.stamped(0, 2 * MIB)) + bytearray(MIB)
    data[MIB // 2 : MIB] = bytes(MIB // 2)
    source = scratch / "source"
    source.write_bytes(data)
    filename = volume.backend.filename
    qemu_img("convert", "-f", "raw", "-O", "raw", source, filename)
    volume.shadow.write(0, bytes(data))
    volume.verify()
    qemu_img("convert", "-f", "raw", "-O", "qcow2", source, filename)
    image = json_filename(over("qcow2", volume.protocol_blockdev()))
    expect_sound(qemu_img, image)
    expect_identical(qemu_img, "-f", "raw", source, image)
    copy = scratch / "copy"
    qemu_img("dd", "-O", "raw", "bs=1M", f"if={image}", f"of={copy}")
    expect_content(volume.shadow, 0, copy.read_bytes(), "the copy")

"""This case checks that data that QEMU places freely on a second volume stays correct.

How: without data_file_raw QEMU chooses the place of each cluster. A snapshot and a rewrite make it
move data. The image must read as written, before and after the snapshot is applied.
Guards: extent-boundary-misroute.
Related: snapshot-delete-shared-block, flush-one-child-only.
"""

import copy

from oracles.shadow import Shadow
from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.data_file import create_over
from qbdcheck.kit.expectations import expect_content, expect_sound

KIB, MIB = 1 << 10, 1 << 20


@case(groups="format qcow2 snapshot quick", basis="MUST: QEMU, interop/qcow2")
def test(new_disk, qemu_io, qemu_img, storage_daemon, scratch):
    meta, data = new_disk("2M"), new_disk("3M")
    create_over(storage_daemon, meta, data, MIB, raw=False)
    nodes = over("qcow2", meta.protocol_blockdev(), data_file=data.protocol_blockdev())
    image = json_filename(nodes)
    shadow = Shadow(MIB, data.shadow.identity)

    def verify():
        read = scratch / "read"
        qemu_img("dd", "-O", "raw", "bs=1M", f"if={image}", f"of={read}")
        expect_content(shadow, 0, read.read_bytes(), "the image, read by qemu-img dd")
        expect_sound(qemu_img, image)

    with qemu_io(image, shadow=shadow) as io:
        for cluster in (9, 2, 3, 15):
            io.write(64 * KIB * cluster + 512, 64 * KIB - 512)
    verify()
    error = qemu_img.run("snapshot", "-c", "kept", image, check=False).stderr
    if not error:
        kept = copy.deepcopy(shadow)
    with qemu_io(image, shadow=shadow) as io:
        io.write(100 * KIB, 300 * KIB)
        io.write_zeroes(15 * 64 * KIB, 64 * KIB)
    verify()
    if not error:
        qemu_img("snapshot", "-a", "kept", image)
        shadow = kept
        verify()

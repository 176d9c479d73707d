"""This case checks that an image that outgrows its volume fails with an error and harms no data.

How: a qcow2 image claims more than the volume has. It is filled until the volume is full: the write
fails, all that was acknowledged before stays, and after a discard there is room again.
Guards: errno-collapsed, torn-write, async-error-ignored, oob-past-end.
"""

import pytest

from oracles.shadow import Shadow
from qbdcheck.kit import IoFailed, case
from qbdcheck.kit.blockdev import json_filename, over

KIB, MIB = 1 << 10, 1 << 20
CLUSTER = 64 * KIB
REASONS = ("No space left on device", "Invalid argument")


@case(groups="format errors qcow2 quick", requires="nbd")
def test(new_disk, qemu_io, qemu_img, scratch):
    volume, shadow, read = new_disk("1M"), Shadow(4 * MIB), scratch / "read"
    name = volume.backend.filename
    qemu_img("create", "-q", "-f", "qcow2", name, str(shadow.size))
    image = json_filename(over("qcow2", volume.protocol_blockdev()))
    with qemu_io(image, shadow=shadow) as io:
        for done in range(MIB // CLUSTER):
            try:
                io.write(3 * CLUSTER * done, CLUSTER)
            except IoFailed as error:
                assert error.reason in REASONS and done > 5, (done, error.reason)
                break
        else:
            pytest.fail("a volume of 1 MiB took more than 1 MiB")
        io.read(0, 4 * CLUSTER)
    with qemu_io(image, shadow=shadow) as io:
        io.discard(3 * CLUSTER, 4 * CLUSTER)
        io.write(50 * CLUSTER + 1, 1000)
    qemu_img("dd", "-O", "raw", "bs=1M", f"if={image}", f"of={read}")
    wrong = shadow.check(0, read.read_bytes())
    assert not wrong, "\n".join(f"offset {one.offset}: {one.text}" for one in wrong[:8])
    assert qemu_img.json("check", image)["check-errors"] == 0

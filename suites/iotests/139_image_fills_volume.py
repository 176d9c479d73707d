"""This case checks that an image that outgrows its volume fails with an error and harms no data.

How: a qcow2 image is larger than its volume. It is filled until the volume is full. The write must
fail, all that was acknowledged before must stay, and after a discard there must be room again.
Guards: errno-collapsed, async-error-ignored.
Related: torn-write, oob-past-end.
"""

import pytest

from oracles.shadow import Shadow
from qbdcheck.kit import IoFailed, case
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.expectations import expect_content, expect_no_check_errors

KIB, MIB = 1 << 10, 1 << 20
CLUSTER = 64 * KIB
REASONS = ("No space left on device", "Invalid argument")


@case(
    groups="format errors qcow2 quick",
    requires="nbd",
    basis=("MUST: QEMU, interop/qcow2", "POLICY: failed-write-old-or-new"),
)
def test(new_disk, qemu_io, qemu_img, scratch):
    volume, read = new_disk("1M"), scratch / "read"
    shadow = Shadow(4 * volume.size)  # a target may round the size up
    name = volume.backend.filename
    qemu_img("create", "-q", "-f", "qcow2", name, str(shadow.size))
    image = json_filename(over("qcow2", volume.protocol_blockdev()))
    with qemu_io(image, shadow=shadow) as io:
        for done in range(volume.size // CLUSTER):
            try:
                io.write(3 * CLUSTER * done, CLUSTER)
            except IoFailed as error:
                assert error.reason in REASONS and done > 5, (
                    f"write {done} of a cluster fails with: {error.reason}"
                )
                break
        else:
            pytest.fail(
                f"an image wrote {volume.size} bytes of data to a volume of as many, which also has"
                " its metadata: the backend accepted writes beyond the end of the volume"
            )
        io.read(0, 4 * CLUSTER)
    with qemu_io(image, shadow=shadow) as io:
        io.discard(3 * CLUSTER, 4 * CLUSTER)
        io.write(50 * CLUSTER + 1, 1000)
    qemu_img("dd", "-O", "raw", "bs=1M", f"if={image}", f"of={read}")
    expect_content(shadow, 0, read.read_bytes(), "the image, read by qemu-img dd")
    expect_no_check_errors(qemu_img, image)

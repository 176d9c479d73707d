"""This case checks that image formats work over a volume with 4 KiB blocks.

How: qcow2 with clusters of 4 KiB and of 64 KiB on a volume whose minimum block is 4096 bytes:
unaligned writes and zeroes, reads, and qemu-img check.
Guards: sector-unit-mismatch.
Related: min-block-underadvertised.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_sound


@case(
    groups="blocksize qcow2",
    requires="min_block",
    basis=("MUST: QEMU, interop/qcow2", "MUST: NBD, Block size constraints"),
)
def test(new_disk, qemu_io, qemu_img):
    for cluster in (4096, 65536):
        volume = new_disk("6M", min_block=4096)
        qemu_img("create", "-q", "-f", "qcow2", "-o", f"cluster_size={cluster}", volume.uri, "2M")
        name = "json:" + volume_json(volume)
        with qemu_io(name) as io:
            for number in range(20):
                io.request(f"write -P {number + 1} {number * 99_999} 33333")
            for number in range(20):
                io.request(f"read -P {number + 1} {number * 99_999} 33333")
            io.request("write -z 500000 4000")
        expect_sound(qemu_img, name)


def volume_json(volume):
    import json

    return json.dumps({"driver": "qcow2", "file": volume.protocol_blockdev()})

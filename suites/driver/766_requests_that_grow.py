"""This case checks that writes in flight together which all grow a volume lose none of each other.

How: a new qcow2 image on a volume is written at many places at once, each in a cluster of its own.
These clusters lie behind the end of the volume that qemu-img has left, so the driver grows it for
each. If it takes an old size for the present one, it cuts off what another write has just added.
Guards: resize-during-copy, concurrent-map-update-lost.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.blockdev import json_filename, over

KIB, MIB, ROUNDS, DEPTH = 1 << 10, 1 << 20, 6, 24


@case(
    groups="size concurrent qcow2",
    requires="own_driver resize",
    limit_s=60,
    basis="MUST: QAPI, block_resize",
)
def test(new_disk, qemu_io, qemu_img):
    for number in range(ROUNDS):
        disk = new_disk(MIB, prefill=False)
        options = ("-q", "-f", "qcow2", "-o", "cluster_size=4k")
        made = qemu_img.run("create", *options, disk.backend.filename, "8M", check=False)
        if made.returncode:
            raise NotRun(f"QEMU cannot make qcow2 on this target: {made.stderr.strip()}")
        image = over("qcow2", disk.protocol_blockdev())
        with qemu_io(json_filename(image)) as io:
            for place in range(DEPTH):
                io.submit(f"aio_write -q -P {place + 1} {(place * 37 % 256) * 4 * KIB} 4k")
            seen = io("flush") + io("aio_flush")
            assert "failed" not in seen, (
                f"round {number}: of {DEPTH} writes that grow the volume at once, one fails: {seen}"
            )
            for place in range(DEPTH):
                at = (place * 37 % 256) * 4 * KIB
                read = io(f"read -P {place + 1} {at} 4k")
                assert "failed" not in read, (
                    f"round {number}: a write of 4096 bytes at {at} of the image was answered, and "
                    f"a growth for another one has cut it off: {read.strip()}"
                )
        report = qemu_img.json("check", json_filename(image))
        assert not report.get("corruptions"), f"round {number}: qemu-img check says {report}"

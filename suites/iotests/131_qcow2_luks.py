"""This case checks that an encrypted qcow2 image on a volume keeps its data and keeps it secret.

How: writes go within and across clusters and encrypted sectors, through an export of the image.
After reopening the data must be right, the volume must contain no stamp in clear text, and check
must find nothing.
Guards: unaligned-offset-rounded, iov-offset-ignored, misdirected-write.
"""

from oracles.shadow import Shadow
from oracles.stamps import MAGIC
from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.expectations import expect_sound
from qbdcheck.kit.luks import create_luks

KIB, MIB = 1 << 10, 1 << 20


@case(groups="format qcow2 slow", basis="MUST: QEMU, interop/qcow2")
def test(new_disk, qemu_io, qemu_img, storage_daemon):
    volume, shadow = new_disk("6M", prefill=False), Shadow(2 * MIB)
    qemu_img.objects.append("secret,id=right,data=right")
    options = "encrypt.format=luks,encrypt.key-secret=right,encrypt.iter-time=10"
    name = volume.backend.filename
    create_luks(qemu_img, "-f", "qcow2", "-o", options, name, str(shadow.size))
    encrypt = {"format": "luks", "key-secret": "right"}
    image = over("qcow2", volume.protocol_blockdev(), "image", encrypt=encrypt)
    for _ in range(2):
        with storage_daemon() as qsd:
            uri = qsd.export(qsd.add(image), name="image")
            with qemu_io(uri, shadow=shadow) as io:
                io.read(0, 300 * KIB)
                io.write(64 * KIB - 3, 70 * KIB)
                io.write(MIB + 511, 2)
                io.write_zeroes(100 * KIB, 64 * KIB)
                io.write(2 * MIB - 512, 512)
                io.read(0, 300 * KIB)
                io.read(MIB, 64 * KIB)
                io.read(2 * MIB - 64 * KIB, 64 * KIB)
    data = volume.read_all().tobytes()
    assert any(data), "the encrypted data is all zeroes"
    assert MAGIC not in data, "a stamp is on the volume in clear text"
    expect_sound(qemu_img, json_filename(image))

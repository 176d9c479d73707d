"""This case checks that a LUKS image on a volume keeps its data, and keeps it secret.

How: stamped data is written and read back after reopening. No stamp may be on the volume itself.
Without the right key QEMU must refuse to open the image.
Guards: iov-offset-ignored.
Related: unaligned-offset-rounded, phantom-write.
"""

from oracles.shadow import Shadow
from oracles.stamps import MAGIC
from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.luks import create_luks

KIB, MIB = 1 << 10, 1 << 20


@case(groups="format slow", basis="MUST: qemu-block-drivers(7), luks")
def test(new_disk, qemu_io, qemu_img, storage_daemon, golden):
    volume = new_disk("4M", prefill=False)
    qemu_img.objects += ["secret,id=right,data=right", "secret,id=wrong,data=wrong"]
    options = ("-o", "key-secret=right,iter-time=10")
    create_luks(qemu_img, "-f", "luks", *options, volume.backend.filename, "1536k")
    image = over("luks", volume.protocol_blockdev(), "image", key_secret="right")
    info = qemu_img.json("info", json_filename(image))
    start, size = info["format-specific"]["data"]["payload-offset"], info["virtual-size"]
    assert size >= MIB, f"the image has {size} bytes, less than 1 MiB"
    shadow = Shadow(size)
    for part in range(2):
        with storage_daemon() as qsd:
            uri = qsd.export(qsd.add(image), name="image")
            with qemu_io(uri, shadow=shadow) as io:
                if part == 0:
                    io.write(0, size)
                io.read(MIB - 4 * KIB, 8 * KIB)
                for offset, length in ((1, 510), (MIB - 511, 70 * KIB), (size - 1, 1)):
                    io.write(offset, length)
                io.read(MIB - 64 * KIB, 200 * KIB)
                io.read(size - 4 * KIB, 4 * KIB)
    data = volume.read_all(start, size).tobytes()
    assert any(data), "the encrypted data is all zeroes"
    assert MAGIC not in data, "a stamp is on the volume in clear text"
    wrong = over("luks", volume.protocol_blockdev(), key_secret="wrong")
    golden(qemu_img.fails("map", json_filename(wrong)).rpartition(": ")[2])

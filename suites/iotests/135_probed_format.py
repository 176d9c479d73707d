"""This case checks that a raw volume with an image header in it is a raw volume when called so.

How: a guest writes a qcow2 header that names a file of the host as its backing file. Opened as raw,
the volume gives the header back as data; where raw is only guessed, QEMU lets no header be written.
Guards: format-probe-escape, previous-tenant-data.
"""

import pytest

from qbdcheck.kit import IoFailed, case
from qbdcheck.kit.blockdev import json_filename

KIB = 1 << 10


@case(groups="format errors quick")
def test(new_disk, qemu_io, qemu_img, scratch):
    disk, header, secret = new_disk("1M"), scratch / "header", scratch / "secret"
    secret.write_bytes(b"secret of the host " * 4096)
    qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret, header, "64k")
    image = header.read_bytes()[: 192 * KIB]
    with qemu_io(disk) as io:
        io.request(f"write -s {header} 0 {len(image)}")
        disk.shadow.write(0, image)
        assert io.read(0, len(image)) == image
    info = qemu_img.json("info", disk.filename)
    assert (info["format"], info["virtual-size"]) == ("raw", disk.size)
    disk.verify()
    with qemu_io(disk) as io:
        io.write(0, 512)
    guessed = json_filename({"file": disk.protocol_blockdev()})
    with qemu_io(guessed, shadow=disk.shadow) as io:
        with pytest.raises(IoFailed, match="Operation not permitted"):
            io.request(f"write -s {header} 0 512")
        io.write(512, 512)
    disk.verify()

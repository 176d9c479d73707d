"""This case checks that a raw volume that contains an image header stays raw if opened as raw.

How: a guest writes a qcow2 header that names a file of the host as its backing file. Opened as raw,
the volume returns the header as data. If raw is only probed, QEMU refuses to write a header.
Guards: format-probe-escape.
Related: previous-tenant-data.
"""

from qbdcheck.kit import IoFailed, case
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.expectations import expect_equal, expect_failure, expect_same

KIB = 1 << 10


@case(groups="format errors quick", basis="MUST: QEMU, system/images")
def test(new_disk, qemu_io, qemu_img, scratch):
    disk, header, secret = new_disk("1M"), scratch / "header", scratch / "secret"
    secret.write_bytes(b"secret of the host " * 4096)
    qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret, header, "64k")
    image = header.read_bytes()[: 192 * KIB]
    with qemu_io(disk) as io:
        io.request(f"write -s {header} 0 {len(image)}")
        disk.shadow.write(0, image)
        expect_same(io.read(0, len(image)), image, "the header, read back")
    info = qemu_img.json("info", disk.filename)
    expect_equal(
        (info["format"], info["virtual-size"]), ("raw", disk.size), "qemu-img info, format and size"
    )
    disk.verify()
    with qemu_io(disk) as io:
        io.write(0, 512)
    guessed = json_filename({"file": disk.protocol_blockdev()})
    with qemu_io(guessed, shadow=disk.shadow) as io:
        with expect_failure(
            IoFailed, "write of an image header to a probed volume", "Operation not permitted"
        ):
            io.request(f"write -s {header} 0 512")
        io.write(512, 512)
    disk.verify()

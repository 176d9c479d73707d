"""This case checks that a volume is opened as the format that was named, whatever is on it.

How: each format on a volume of plain stamps is refused. Then a guest writes the header of a qcow2
image with a backing file. The volume must stay raw, byte for byte, wherever its format was given.
Guards: format-probe-escape.
Related: wrong-volume-or-lun.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.expectations import expect_equal

FORMATS = ("qcow2", "qed", "vmdk", "vpc", "luks", "parallels", "bochs", "dmg")


@case(groups="names format errors quick", basis="MUST: QEMU, system/images")
def test(disk, qemu_io, qemu_img, storage_daemon, scratch, golden):
    protocol = disk.protocol_blockdev()
    for driver in FORMATS:
        node = over(driver, protocol) | ({"key-secret": "none"} if driver == "luks" else {})
        error = qemu_img.fails("info", json_filename(node))
        golden(f"{driver}: {error.rpartition('}')[2].removeprefix(chr(39) + ': ').strip()}")

    secret = scratch / "secret"
    secret.write_bytes(b"not for guests" * 5000)
    qemu_img("create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", scratch / "bait", "1M")
    header = (scratch / "bait").read_bytes()[:65536]
    with qemu_io(disk) as io:
        (scratch / "header").write_bytes(header)
        io.request("write -s header 0 65536")
        disk.shadow.write(0, header)
        io.flush()
    with storage_daemon() as qsd:
        qsd.add(disk.blockdev("source"))
        uri = qsd.export("source")
        with qemu_io(uri, shadow=disk.shadow) as io:
            io.read(0, 65536)
            io.write(4096, 512)
            io.flush()
    info = qemu_img.json("info", disk.filename)
    expect_equal(
        (info["format"], info["virtual-size"]), ("raw", disk.size), "qemu-img info, format and size"
    )
    assert "backing-filename" not in info, f"the raw volume has a backing file: {info}"
    disk.verify()

"""This case checks that the name of a volume inside an image leads to that volume.

How: overlays have the volume as their backing by URI or by json: name. Opened by the overlay's file
name alone, each must read as the volume, and a commit must write to the right one.
Related: wrong-volume-or-lun, clone-copyup-lost.
"""

from copy import deepcopy

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.expectations import expect_equal


@case(groups="names backing qcow2 img", requires="nbd", basis="MUST: QEMU, interop/qcow2")
def test(new_disk, qemu_io, qemu_img, scratch):
    disk, other = new_disk("256K"), new_disk("256K")
    names = {"uri": disk.uri, "json": json_filename(disk.blockdev())}
    for way, name in names.items():
        overlay = scratch / f"{way}.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", "-b", name, "-F", "raw", overlay)
        info = qemu_img.json("info", overlay)
        expect_equal(info["backing-filename"], name, "qemu-img info, backing-filename")
        expect_equal(info["virtual-size"], disk.size, "qemu-img info, virtual-size")
        shadow = deepcopy(disk.shadow)
        with qemu_io(overlay, shadow=shadow) as io:
            io.read(0, disk.size)
            io.write(65536 + 100, 5000)
            io.read(0, disk.size)
            io.flush()
        disk.verify()
        qemu_img("commit", "-q", overlay)
        disk.shadow = shadow
        disk.verify()
    # An unsafe rebase copies nothing: now the overlay reads the other volume.
    qemu_img(
        "rebase", "-q", "-u", "-f", "qcow2", "-b", other.uri, "-F", "raw", scratch / "uri.qcow2"
    )
    with qemu_io(scratch / "uri.qcow2", shadow=deepcopy(other.shadow), read_only=True) as io:
        io.read(0, other.size)
    disk.verify()
    other.verify()

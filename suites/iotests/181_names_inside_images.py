"""This case checks that the name of a volume inside an image leads to that volume.

How: overlays whose backing is the volume by URI, json: name or chain of both; opened by nothing but
the overlay's file name, each must read as the volume, and a commit must land in the right one.
Guards: wrong-volume-or-lun, clone-copyup-lost.
"""

from copy import deepcopy

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename


@case(groups="names backing qcow2 img", requires="nbd")
def test(new_disk, qemu_io, qemu_img, scratch):
    disk, other = new_disk("256K"), new_disk("256K")
    names = {"uri": disk.uri, "json": json_filename(disk.blockdev())}
    for way, name in names.items():
        overlay = scratch / f"{way}.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", "-b", name, "-F", "raw", overlay)
        info = qemu_img.json("info", overlay)
        assert info["backing-filename"] == name, info
        assert info["virtual-size"] == disk.size, info
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
    # Renamed without copying: reads the other volume from now on.
    qemu_img(
        "rebase", "-q", "-u", "-f", "qcow2", "-b", other.uri, "-F", "raw", scratch / "uri.qcow2"
    )
    with qemu_io(scratch / "uri.qcow2", shadow=deepcopy(other.shadow), read_only=True) as io:
        io.read(0, other.size)
    disk.verify()
    other.verify()

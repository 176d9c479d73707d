"""This case checks that a malformed NBD URI is refused with a clear message, and opens nothing.

How: each part of the target's right URI is broken in turn. qemu-img info must fail with exactly the
text in the golden, and the right URI must still work afterwards. QEMU 9.1 and newer may print a
line of GLib before it (docs/findings.md, qemu-nbd-uri-without-query).
Related: wrong-volume-or-lun, probe-or-abort-kills-server.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_size

SHAPES = (
    "nbd:",
    "nbd://",
    "nbd:localhost",
    "nbd+unix:///",
    "nbd+unix:///disk",
    "nbd+unix:///disk?sock=SOCKET",
    "nbd+unix:///disk?socket=SOCKET&export=disk",
    "nbd+unix://host/disk?socket=SOCKET",
    "nbd+unix:///disk?socket=SOCKET.absent",
    "nbd://localhost:port/disk",
    "nbd+udp://localhost/disk",
    "nbdunix:///disk?socket=SOCKET",
    "NBD+UNIX:///disk?socket=SOCKET",
)
WITHOUT_QUERY = ("nbd+unix:///", "nbd+unix:///disk")
GLIB_LINE = "qemu-img: GLib: g_hash_table_lookup: assertion 'hash_table != NULL' failed\n"


@case(groups="names errors quick", requires="nbd", basis="MUST: NBD URI, NBD URI components")
def test(disk, qemu_img, golden, target):
    expect_size(qemu_img, disk.uri, disk.size)
    socket = str(disk.volume_path)
    has_glib_line = target.qemu_version >= (9, 1)
    for shape in SHAPES:
        error = qemu_img.fails("info", shape.replace("SOCKET", socket))
        if has_glib_line and shape in WITHOUT_QUERY:
            error = error.removeprefix(GLIB_LINE)
        golden(error.strip().replace(socket, "SOCKET").removeprefix("qemu-img: Could not open "))
    expect_size(qemu_img, disk.uri, disk.size)

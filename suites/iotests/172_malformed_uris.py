"""This case checks that a malformed NBD URI is refused with a clear message, and opens nothing.

How: each part of the target's right URI is broken in turn. qemu-img info must fail with exactly the
text in the golden, and the right URI must still work afterwards.
Guards: wrong-volume-or-lun, probe-or-abort-kills-server.
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


@case(groups="names errors quick", requires="nbd")
def test(disk, qemu_img, golden):
    expect_size(qemu_img, disk.uri, disk.size)
    socket = str(disk.volume_path)
    for shape in SHAPES:
        error = qemu_img.fails("info", shape.replace("SOCKET", socket))
        golden(error.strip().replace(socket, "SOCKET").removeprefix("qemu-img: Could not open "))
    expect_size(qemu_img, disk.uri, disk.size)

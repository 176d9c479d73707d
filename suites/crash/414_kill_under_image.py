"""This case checks that a qcow2 image survives SIGKILL of the backend below it.

How: writes and flushes in the image, then the backend is killed while QEMU uses it. After a restart
qemu-img checks the image, and every byte is compared. Six times.
Guards: flush-noop, close-drops-dirty, map-entry-shifted, inflight-hang-on-disconnect.
"""

from qbdcheck.kit import case
from qbdcheck.kit.faulty_image import FaultyImage


@case(
    groups="qcow2 flush crash",
    requires="flush kill",
    basis=("MUST: NBD, NBD_CMD_FLUSH", "POLICY: image-survives-power-cut"),
)
def test(new_disk, qemu_io, qemu_img):
    disk = new_disk("2M", prefill=False, format="qcow2")
    disk.create_image(disk.size, "cluster_size=4096")
    image = FaultyImage(disk, qemu_io, qemu_img)
    for round_ in range(6):
        io = qemu_io(disk)
        for number in range(10):
            io.write(number * 200_000 + round_ * 7000, 15_000)
            if number == 5:
                io.flush()
        disk.backend.kill()
        io.abandon()
        disk.backend.start()
        image.check()
        disk.verify()

"""This case checks that a qcow2 image on the target survives power cuts at the target.

How: a random workload on the image and a cut in the middle of it. The image is opened again and
checked by qemu-img, and every byte is compared. The next round continues with the image as it is.
Guards: flush-noop, destage-reorder, torn-write.
Related: flush-one-child-only, fua-write-ack-early.
"""

from qbdcheck.kit import case
from qbdcheck.kit.faulty_image import FaultyImage
from qbdcheck.kit.server_ends import cut, rounds


@case(
    groups="qcow2 flush crash",
    requires="flush sudden_end",
    basis=("MUST: NBD, NBD_CMD_FLUSH", "POLICY: image-survives-power-cut"),
)
def test(new_disk, qemu_io, qemu_img, seed):
    disk = new_disk("4M", prefill=False, format="qcow2")
    disk.create_image(disk.size, "cluster_size=4096")
    image = FaultyImage(disk, qemu_io, qemu_img)
    random = seed.stream("workload")
    for round_ in rounds(8):
        io = qemu_io(disk)
        for _ in range(random.randrange(5, 25)):
            offset = random.randrange(0, disk.size - 40_000)
            match random.randrange(6):
                case 0:
                    io.flush()
                case 1:
                    io.write_zeroes(offset & -4096, 16_384, unmap=True)
                case 2:
                    io.discard(offset & -4096, 8192)
                case _:
                    io.write(offset, random.randrange(1, 40_000))
        cut(disk, seed + round_)
        io.abandon()
        image.check()
        disk.verify()
    image.repair()
    disk.verify()

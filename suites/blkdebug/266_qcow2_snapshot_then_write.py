"""This case checks that writes after an internal snapshot that fail half-way harm neither side.

How: a full image with a snapshot. Partial and whole writes fail at each event of copying tables and
clusters. The image must be old or new, and the snapshot, applied at the end, exactly as it was.
Related: snapshot-map-under-io, snapshot-delete-shared-block, clone-copyup-lost.
"""

from qbdcheck.kit import case
from qbdcheck.kit.faulty_image import FaultyImage

EVENTS = """l2_alloc_cow_read l2_alloc_write l1_update cluster_alloc cow_read cow_write write_aio
    l2_update refblock_update_part"""


@case(
    groups="inject errors qcow2 snapshot",
    basis=("MUST: QEMU, interop/qcow2", "POLICY: image-survives-errors"),
)
def test(new_disk, qemu_io, qemu_img):
    disk = new_disk("8M", prefill=False, format="qcow2")
    disk.create_image(disk.size, "cluster_size=4k")
    with qemu_io(disk) as io:
        for part in range(16):
            io.write(part * (512 << 10), 20_000)
    past = disk.shadow.expected(0, disk.size)
    qemu_img("snapshot", "-c", "kept", disk.filename)
    image = FaultyImage(disk, qemu_io, qemu_img)
    part = iter(range(16))  # each has an L2 table of its own, shared with the snapshot at first

    def act(io):
        io.write(next(part) * (512 << 10) + 1000, 10_000)
        io.flush()

    image.strike_events(EVENTS, act)
    disk.verify()
    image.repair()
    qemu_img("snapshot", "-a", "kept", disk.filename)
    disk.shadow.write(0, past)
    disk.verify()

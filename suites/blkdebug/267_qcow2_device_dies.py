"""This case checks that a volume that stops accepting writes leaves a consistent qcow2.

How: from the N-th write on everything fails, for N = 1, 2, 3, ... until a run is clean, as after
the loss of a path. There must be no corruption at any N. Each sector must be old or new, and new
where a write through all caches was acknowledged.
Guards: map-entry-shifted.
Related: torn-write, destage-reorder.
"""

from qbdcheck.kit import case
from qbdcheck.kit.faulty_image import FaultyImage


@case(
    groups="inject errors qcow2",
    basis=("MUST: QEMU, interop/qcow2", "POLICY: image-survives-errors"),
)
def test(new_disk, qemu_io, qemu_img):
    disk = new_disk("8M", prefill=False, format="qcow2")
    disk.create_image(disk.size, "cluster_size=4k")
    image = FaultyImage(disk, qemu_io, qemu_img, cache="writethrough")
    part = iter(range(1000, disk.size - 20_000, 100_000))

    def act(io):
        at = next(part)
        io.write(at, 5000)
        io.write(at + 2000, 6000)
        io.discard(at + 4096, 4096)
        io.write(at + 9000, 3000)

    deaths = list(image.sweep("pwritev", act, iotype="write"))
    assert len(deaths) >= 5, f"expected at least 5 failing runs, got {deaths}"
    disk.verify()
    image.repair()

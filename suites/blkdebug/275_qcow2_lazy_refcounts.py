"""This case checks that an image with lazy refcounts is repaired after a failed close.

How: writes, then the update of refcounts and the clearing of the dirty flag fail at the N-th write,
also during the close. The next open must repair the image, with all data and no corruption left.
Guards: close-error-lost.
Related: close-drops-dirty, torn-write.
"""

from qbdcheck.kit import ProgramError, case
from qbdcheck.kit.blkdebug import fail_nth
from qbdcheck.kit.faulty_image import FaultyImage


@case(
    groups="inject errors qcow2 flush",
    basis=("MUST: QEMU, interop/qcow2", "POLICY: image-survives-errors"),
)
def test(new_disk, qemu_io, qemu_img):
    disk = new_disk("2M", prefill=False, format="qcow2")
    disk.create_image(disk.size, "lazy_refcounts=on")
    image = FaultyImage(disk, qemu_io, qemu_img)
    failures = 0
    for count in range(1, 7):
        fault = fail_nth("pwritev", count, iotype="write")
        try:
            with qemu_io(image.filename(fault), "writethrough", shadow=disk.shadow) as io:
                for number in range(2):
                    io.write(count * 200_000 + number * 100_000, 30_000)
        except ProgramError as failure:
            if failure.returncode not in {1, None}:
                raise
            failures += 1
        with qemu_io(disk) as io:
            io.read(count * 200_000, 30_000)
        image.check()
    assert failures >= 3, f"expected at least 3 failures, got {failures}"
    disk.verify()

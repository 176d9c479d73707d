"""This case checks that metadata that cannot be read fails the request, never reads as a hole.

How: reads of L2 tables, refcount blocks and data fail. A read that fails returns no data. The next
one, without the error, must return the right data.
Guards: alloc-map-rounding-reads-zero.
Related: missing-object-zero-fill, async-error-ignored.
"""

from errno import EIO

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import error
from qbdcheck.kit.expectations import expect_result
from qbdcheck.kit.faulty_image import NOT_OPENED, FaultyImage

EVENTS = {
    "l2_load": ("read 1000 3000", "write -P 1 1000 3000", "discard 0 64k", "write -z 0 64k"),
    "read_aio": ("read 1000 3000", "read 64k 100k"),
    "cluster_alloc": ("write -P 1 3M 64k",),
}


@case(
    groups="inject errors qcow2",
    basis=("MUST: QEMU, interop/qcow2", "POLICY: image-survives-errors"),
)
def test(new_disk, qemu_io, qemu_img):
    disk = new_disk("4M", prefill=False, format="qcow2")
    with qemu_io(disk) as io:
        io.write(0, 200_000)
    image = FaultyImage(disk, qemu_io, qemu_img)
    for event, commands in EVENTS.items():
        for command in commands:
            rule = error(event, iotype="read", once=True)

            def act(io, command=command):
                try:
                    io.request(command)
                finally:
                    io.read(0, 100_000)

            expect_result(image.strike(rule, act), EIO, f"an error at {event} in '{command}'")
    expect_result(
        image.strike(error("reftable_load"), lambda io: None),
        NOT_OPENED,
        "reftable_load fails, so the image",
    )
    disk.verify()

"""This case checks that a copy-on-read that cannot write returns right data or an error.

How: a read through copy-on-read whose write into the overlay fails, by its own event and inside
qcow2. Then the same read is repeated. The overlay must be consistent, and over its backing file all
data must be right.
Related: missing-object-zero-fill, async-error-ignored, discard-exposes-backing.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.faulty_image import FaultyImage


@case(groups="inject errors backing qcow2", basis="MUST: QAPI, BlockdevOptionsCor")
def test(new_disk, qemu_io, qemu_img):
    base, top = new_disk("512k"), new_disk("512k", prefill=False, format="qcow2")
    image = FaultyImage(top, qemu_io, qemu_img, backing=base.protocol_blockdev())
    for number, event in enumerate(("cluster_alloc", "write_aio", "pwritev")):
        faults = {"inject-error": [error(event, iotype="write", once=True)]}
        name = json_filename(over("copy-on-read", image.blockdev(faults)))
        at = number * (128 << 10) + 1000
        with qemu_io(name, shadow=base.shadow) as io:
            first = io(f"read {at} 20000")
            assert "read 20000/20000" in first or "Input/output error" in first, (
                f"read {at} 20000: expected data or an I/O error, got: {first}"
            )
            io.read(at, 20_000)
        image.check()
    faulty = blkdebug(image.blockdev(), error("cor_write", iotype="write", once=True))
    with qemu_io(json_filename(over("copy-on-read", faulty)), shadow=base.shadow) as io:
        io("read 400000 20000")
        io.read(400_000, 20_000)
    with qemu_io(image.filename(), shadow=base.shadow) as io:
        io.read(0, 100_000)
        io.read(390_000, 50_000)
    base.verify()

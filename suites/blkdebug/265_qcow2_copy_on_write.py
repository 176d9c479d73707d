"""This case checks that an error of copy-on-write keeps the old data, of the backing file too.

How: partial writes into clusters that only the backing file has fail at each event of the copy.
Data must be old or new everywhere, and the backing file must not change.
Related: clone-copyup-lost, snapshot-map-under-io, torn-write, async-error-ignored.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.faulty_image import FaultyImage


@case(
    groups="inject errors qcow2 backing snapshot",
    basis=("MUST: QEMU, interop/qcow2", "POLICY: image-survives-errors"),
)
def test(new_disk, qemu_io, qemu_img):
    base, disk = new_disk("1M"), new_disk("1M", prefill=False, format="qcow2")
    disk.shadow.write(0, base.shadow.expected(0, base.size))
    image = FaultyImage(disk, qemu_io, qemu_img, backing=base.protocol_blockdev())
    at = iter(range(10_000, base.size, 128 << 10))

    def act(io):
        io.write(next(at), 20_000)
        io.flush()

    image.strike_events("cow_read cow_write read_backing_aio write_aio l2_update", act)
    backing = blkdebug(base.protocol_blockdev(), error(iotype="read", once=True))
    above = FaultyImage(disk, qemu_io, qemu_img, backing=backing)
    assert above.strike({}, act) != 0, "the error of the backing file was not reported"
    with qemu_io(image.filename(), shadow=disk.shadow) as io:
        io.read(0, 300_000)
    base.verify()

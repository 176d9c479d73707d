"""This case checks that a failed qemu-img commit keeps the data in the overlay or in its base.

How: an overlay is committed and emptied, with an error at the N-th write to it, at a write to its
base, and at each event of the emptying. The chain must read the same every time, and the image must
be consistent.
Guards: close-error-lost.
Related: async-error-ignored, clone-copyup-lost.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error, fail_nth
from qbdcheck.kit.blockdev import over
from qbdcheck.kit.faulty_image import FaultyImage


@case(
    groups="inject errors qcow2 commit backing img slow",
    basis=("MUST: qemu-img(1), commit", "POLICY: image-survives-errors"),
)
def test(new_disk, qemu_io, qemu_img):
    base, top = new_disk("512k"), new_disk("512k", prefill=False, format="qcow2")
    raw = over("raw", base.protocol_blockdev())
    top.shadow = base.shadow
    image = FaultyImage(top, qemu_io, qemu_img, backing=raw)
    events = ("empty_image_prepare", "reftable_update", "cluster_alloc", "read_aio")
    faults = [({"inject-error": [error(event, once=True)]}, raw) for event in events]
    faults += [(fail_nth("pwritev", count, once=True), raw) for count in (1, 2, 3)]
    bad_base = {**blkdebug(base.protocol_blockdev()), **fail_nth("write_aio", 1, once=True)}
    faults += [({}, over("raw", bad_base))]
    failures = 0
    for number, (fault, backing) in enumerate(faults):
        with qemu_io(image.filename(), shadow=base.shadow) as io:
            io.write(number * 50_000, 60_000)
        chain = FaultyImage(top, qemu_io, qemu_img, backing=backing)
        done = qemu_img.run("commit", "-q", chain.filename(fault), check=False)
        failures += bool(done.returncode)
        with qemu_io(image.filename(), shadow=base.shadow) as io:
            io.read(number * 50_000, 60_000)
        image.check()  # after an open, because an image that is being emptied is marked for repair
    assert failures >= 3, f"expected at least 3 failures of commit, got {failures}"
    qemu_img("commit", "-q", image.filename())
    base.verify()
    image.repair()

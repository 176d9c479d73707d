"""This case checks that random scripts through QEMU's block layer give what a model expects.

How: as 450, but the requests go to an export of a qemu-storage-daemon that has the volume open. The
daemon restarts at each reopening and is lost at each power cut.
Guards: flush-noop, write-zeroes-noop, discard-overreach, zero-unmap-not-durable.
"""

from qbdcheck.kit import case

SCRIPTS = 40


@case(
    groups="model rw flush crash slow",
    requires="flush",
    limit_s=120,
    basis=(
        "MUST: NBD, NBD_CMD_READ",
        "MUST: NBD, NBD_CMD_FLUSH",
        "MUST: NBD, NBD_CMD_WRITE_ZEROES",
        "POLICY: discard-old-or-zero",
    ),
)
def test(new_disk, model):
    model.search(model.through_qemu(new_disk(model.SIZE, prefill=False)), SCRIPTS)

"""This case checks that scripts of chance through QEMU's block layer give what a model says.

How: as 450, but the requests go to an export of a qemu-storage-daemon that has the volume open; it
is started anew at each reopening and lost at each power cut.
Guards: flush-noop, write-zeroes-noop, discard-overreach, zero-unmap-not-durable.
"""

from qbdcheck.kit import case

SCRIPTS = 40


@case(groups="model rw flush crash slow", requires="flush", limit_s=120)
def test(new_disk, model):
    model.search(model.through_qemu(new_disk(model.SIZE, prefill=False)), SCRIPTS)

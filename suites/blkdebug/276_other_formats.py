"""This case checks that errors under images of other formats lose no acknowledged data.

How: vdi and vpc, each with the N-th write failing during allocating writes. Acknowledged data must
be there, and the rest must be old or new. (qemu-img check: docs/findings.md#qemu-vdi-count.)
Related: async-error-ignored, torn-write, map-entry-shifted.
"""

from qbdcheck.kit import IoFailed, ProgramError, case
from qbdcheck.kit.blkdebug import blkdebug, fail_nth
from qbdcheck.kit.blockdev import json_filename, over


@case(groups="inject errors format slow", basis="POLICY: image-survives-errors")
def test(new_disk, qemu_io):
    for kind in ("vdi", "vpc"):
        disk = new_disk("8M", prefill=False, format=kind)
        failures = 0
        for count in (1, 2, 3, 4):
            faults = fail_nth("pwritev", count, iotype="write", once=True)
            image = over(kind, {**blkdebug(disk.protocol_blockdev()), **faults})
            io = qemu_io(json_filename(image), shadow=disk.shadow)
            try:
                io.write(count * 900_000, 70_000)
                io.write(count * 900_000 + 1_000, 1000)
            except IoFailed:
                failures += 1
            try:
                io.flush()
                io.close()
            except ProgramError as failure:
                if failure.returncode != 1:
                    raise
            disk.verify()
        assert failures >= 2, f"{kind}: expected at least 2 failures, got {failures}"

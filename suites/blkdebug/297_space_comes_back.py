"""This case checks that a full volume accepts writes again once something has been freed.

How: states of blkdebug fail all writes to new places with ENOSPC until a write-zeroes is done.
Reads and the old data must stay right meanwhile, also in a qcow2 image above.
Related: errno-collapsed, transient-becomes-fatal, thin-alloc-toctou.
"""

from errno import ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error, state_change
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.expectations import expect_errno

FULL = (
    error("write_aio", ENOSPC, state=1, iotype="write"),
    error("write_aio", 0, state=2),  # replaces the rule that was active before
)
FREED = (state_change("pwritev_zero", 1, 2),)


@case(groups="inject errors zero", basis="POLICY: failure-is-not-sticky")
def test(new_disk, qemu_io, qemu_img):
    disk = new_disk("1M")
    faulty = over("raw", blkdebug(disk.protocol_blockdev(), *FULL, states=FREED))
    with qemu_io(json_filename(faulty), shadow=disk.shadow) as io:
        for at in (1000, 100_000, 300_000):
            expect_errno(io, f"write -P 1 {at} 4096", ENOSPC)
            io.read(at - 500, 8192)
        io.write_zeroes(512 << 10, 64 << 10)
        for at in (1000, 100_000, 300_000):
            io.write(at, 4096)
    disk.verify()
    image = new_disk("1M", prefill=False, format="qcow2")
    with qemu_io(image) as io:
        io.write(0, 128 << 10)
    faulty = over("qcow2", blkdebug(image.protocol_blockdev(), *FULL, states=FREED))
    with qemu_io(json_filename(faulty), shadow=image.shadow) as io:
        for at in (0, 320 << 10):  # whole clusters: a part would zero the rest, which frees space
            expect_errno(io, f"write -P 1 {at} 65536", ENOSPC)
            io.read(at, 4096)
    image.verify()
    done = qemu_img.run("check", "-q", image.filename, check=False)
    assert done.returncode in {0, 3}, f"qemu-img check: {done.stderr}"

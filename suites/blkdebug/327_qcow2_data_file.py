"""This case checks that a qcow2 with its data in another volume survives errors of either.

How: new and old clusters are written with errors in the data volume, then in the image's own. Every
sector must be old or new, qemu-img check must find no errors, and the two must still belong
together.
Guards: extent-boundary-misroute.
Related: async-error-ignored, torn-write.
"""

from errno import ENOSPC

from qbdcheck.kit import IoFailed, case
from qbdcheck.kit.blkdebug import blkdebug, errno_of_failure, error
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.data_file import create_over
from qbdcheck.kit.expectations import errno_name, expect_equal, expect_failure


@case(
    groups="inject errors qcow2 format",
    basis=("MUST: QEMU, interop/qcow2", "POLICY: image-survives-errors"),
)
def test(new_disk, qemu_io, qemu_img, storage_daemon):
    image, data = new_disk("2M"), new_disk("1M", prefill=False)
    create_over(storage_daemon, image, data, data.size, raw=True)

    def chain(image_rules=(), data_rules=()):
        below = blkdebug(image.protocol_blockdev(), *image_rules)
        beside = blkdebug(data.protocol_blockdev(), *data_rules)
        return json_filename({**over("qcow2", below), "data-file": beside})

    rules = [error(number=ENOSPC, iotype="write", sector=sector, once=True) for sector in (10, 900)]
    with qemu_io(chain(data_rules=rules), shadow=data.shadow) as io:
        for at in (10 * 512, 900 * 512):
            with expect_failure(IoFailed, f"write of 3000 bytes at {at - 1000}") as failed:
                io.write(at - 1000, 3000)
            seen = errno_name(errno_of_failure(failed.value))
            expect_equal(seen, "ENOSPC", f"write of 3000 bytes at {at - 1000}")
            io.read(at - 2000, 5000)
            io.write(at - 1000, 3000)
    for event in ("l2_update", "cluster_alloc", "l2_load", "flush_to_os"):
        faulty = chain(image_rules=[error(event, ENOSPC, once=True)])
        io = qemu_io(faulty, "writethrough", shadow=data.shadow)
        try:
            io.write(200_000, 5000)
            io.write(600_000, 5000)
        except IoFailed as failed:
            expect_equal(errno_name(errno_of_failure(failed)), "ENOSPC", f"an error at {event}")
        io.abandon()
    done = qemu_img.run("check", "-q", chain(), check=False)
    seen = f"qemu-img check exited with {done.returncode}: {done.stdout}{done.stderr}"
    assert done.returncode in {0, 3}, seen
    with qemu_io(chain(), shadow=data.shadow) as io:
        io.read(190_000, 20_000)
        io.read(590_000, 20_000)
    data.verify()

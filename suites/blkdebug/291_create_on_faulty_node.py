"""This case checks that creating an image on a failing node ends in an error and can be repeated.

How: blockdev-create of a qcow2 with the N-th write failing, until one is created. Each failure must
be the job's error. The image must be empty and consistent, on a volume with old data.
Guards: close-error-lost.
Related: async-error-ignored, false-zero-init.
"""

from errno import ENOSPC

from qbdcheck.kit import QmpFailed, case
from qbdcheck.kit.blkdebug import blkdebug, fail_nth
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.expectations import expect_in, expect_no_check_errors, expect_zeroes


@case(groups="inject errors job qcow2", basis="MUST: QAPI, blockdev-create")
def test(new_disk, qemu_io, qemu_img, storage_daemon):
    volume = new_disk("2M")
    failures = 0
    with storage_daemon() as qsd:
        for count in range(1, 20):
            faults = fail_nth("pwritev", count, ENOSPC, once=True)
            qsd.add({**blkdebug(volume.protocol_blockdev(), node_name="node"), **faults})
            options = {"driver": "qcow2", "file": "node", "size": 1 << 20}
            qsd.qmp("blockdev-create", job_id="job", options=options)
            try:
                qsd.wait_job("job")
            except QmpFailed as failed:
                expect_in(
                    "No space left on device",
                    failed.description,
                    f"write {count} fails: blockdev-create",
                )
                failures += 1
            else:
                break
            finally:
                qsd.qmp("blockdev-del", node_name="node")
        else:
            raise AssertionError("no image was created in 19 attempts")
    assert failures >= 3, f"expected at least 3 failing runs, got {failures}"
    image = json_filename(over("qcow2", volume.protocol_blockdev()))
    expect_no_check_errors(qemu_img, image)
    with qemu_io(image) as io:
        expect_zeroes(io.read(0, 64 << 10), "the new image at 0")

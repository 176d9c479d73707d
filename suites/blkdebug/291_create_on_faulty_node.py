"""This case checks that making an image on a node that fails ends in an error and can be repeated.

How: blockdev-create of a qcow2 with the N-th write failing, until one is made; each failure is the
job's error; the image made at last is empty and sound, on a volume with old data.
Guards: close-error-lost, async-error-ignored, false-zero-init.
"""

from errno import ENOSPC

from qbdcheck.kit import QmpFailed, case
from qbdcheck.kit.blkdebug import blkdebug, fail_nth
from qbdcheck.kit.blockdev import json_filename, over


@case(groups="inject errors job qcow2")
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
                assert "No space left on device" in failed.description, failed
                failures += 1
            else:
                break
            finally:
                qsd.qmp("blockdev-del", node_name="node")
        else:
            raise AssertionError("no image was made")
    assert failures >= 3, failures
    image = json_filename(over("qcow2", volume.protocol_blockdev()))
    assert qemu_img.json("check", image)["check-errors"] == 0
    with qemu_io(image) as io:
        assert io.read(0, 64 << 10) == bytes(64 << 10)

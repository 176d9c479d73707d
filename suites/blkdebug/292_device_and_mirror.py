"""This case checks that a mirror below a running device and the device's own policy keep apart.

How: an ATA disk with werror=stop is mirrored; the copy refuses a write: the job stops, the machine
does not. The disk refuses a write of the guest: the machine stops, the job does not fail. Both go
on, and the copy is the disk.
Guards: late-request-after-quiesce, async-error-ignored, transient-becomes-fatal.
"""

from errno import EIO, ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.ata_disk import ata_machine
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.block_job import finish_job


@case(groups="inject errors device job mirror")
def test(new_disk, machine, scratch):
    disk, copy = new_disk("1M"), new_disk("1M")
    on_disk = error(number=EIO, iotype="write", sector=100, once=True)
    on_copy = error(number=ENOSPC, iotype="write", sector=700, once=True)
    faulty = blkdebug(disk.protocol_blockdev(), on_disk, node_name="disk")
    with ata_machine(machine, scratch, faulty, werror="stop") as (vm, ata):
        vm.add(blkdebug(copy.protocol_blockdev(), on_copy, node_name="copy"))
        vm.qmp("blockdev-mirror", job_id="job", device="disk", target="copy", sync="full",
               on_target_error="stop", auto_dismiss=False)  # fmt: skip
        event = vm.wait_event("BLOCK_JOB_ERROR")["data"]
        assert (event["operation"], event["action"]) == ("write", "stop"), event
        assert vm.qmp("query-status")["status"] == "running"
        vm.wait_event("JOB_STATUS_CHANGE", id="job", status="paused")
        assert vm.qmp("query-block-jobs")[0]["io-status"] == "nospace"
        data = disk.shadow.stamped(100 * 512, 512)
        ata.start_write(100, data)
        vm.wait_event("STOP")
        assert ata.is_waiting
        vm.qmp("cont")
        ata.wait()
        disk.shadow.write(100 * 512, data)
        assert vm.qmp("query-jobs")[0]["status"] == "paused", "cont is not for the job"
        vm.qmp("block-job-resume", device="job")
        end = finish_job(vm)
        assert (end.error, end.errors) == ("", [("write", "stop")]), end
        assert ata.read(100) == data
        copy.shadow.write(0, disk.shadow.expected(0, disk.size))
        later = copy.shadow.stamped(0, 512)
        ata.write(0, later)
        copy.shadow.write(0, later)
        assert ata.read(0) == later
    disk.verify()
    copy.verify()

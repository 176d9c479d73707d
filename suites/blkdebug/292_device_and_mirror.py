"""This case checks that a mirror below a running device and the device's own policy are
independent.

How: an ATA disk with werror=stop is mirrored. When the copy refuses a write, the job must stop and
the machine must run. When the disk refuses a write of the guest, the machine must stop and the job
must not fail. Both continue, and the copy must equal the disk.
Related: late-request-after-quiesce, async-error-ignored, transient-becomes-fatal.
"""

from errno import EIO, ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.ata_disk import ata_machine
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.block_job import finish_job
from qbdcheck.kit.expectations import expect_equal, expect_job_end, expect_same


@case(groups="inject errors device job mirror", basis="MUST: QAPI, BlockdevOnError")
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
        expect_equal(
            (event["operation"], event["action"]),
            ("write", "stop"),
            "BLOCK_JOB_ERROR: operation and action",
        )
        expect_equal(
            vm.qmp("query-status")["status"], "running", "the job stops: the machine's status"
        )
        vm.wait_event("JOB_STATUS_CHANGE", id="job", status="paused")
        expect_equal(vm.qmp("query-block-jobs")[0]["io-status"], "nospace", "the job's io-status")
        data = disk.shadow.stamped(100 * 512, 512)
        ata.start_write(100, data)
        vm.wait_event("STOP")
        assert ata.is_waiting, "the guest's write ended while the machine was stopped"
        vm.qmp("cont")
        ata.wait()
        disk.shadow.write(100 * 512, data)
        assert vm.qmp("query-jobs")[0]["status"] == "paused", "cont resumed the job"
        vm.qmp("block-job-resume", device="job")
        end = finish_job(vm)
        expect_job_end(end, "mirror", errors=[("write", "stop")])
        expect_same(ata.read(100), data, "sector 100, read by the guest")
        copy.shadow.write(0, disk.shadow.expected(0, disk.size))
        later = copy.shadow.stamped(0, 512)
        ata.write(0, later)
        copy.shadow.write(0, later)
        expect_same(ata.read(0), later, "sector 0, read by the guest")
    disk.verify()
    copy.verify()

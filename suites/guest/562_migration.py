"""This case checks that a guest that migrates under load finds its data at the destination.

How: fio writes and verifies. The guest is stopped meanwhile and moves to a second QEMU that has the
same disk open. The first QEMU ends. fio continues there and ends without an error, and all data is
verified again.
Guards: per-client-cache-stale, late-request-after-quiesce, phantom-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.guest_tools import Device, Running

OPTIONS = (
    "fio --name=load --filename={0} --ioengine=libaio --direct=1 --bs=4k --iodepth=8"
    " --rw=randwrite --verify=md5"
)


@case(
    groups="guest slow nightly",
    requires="nbd",
    programs="qemu-system-x86_64",
    limit_s=180,
    basis=("MUST: QAPI, migrate", "MUST: NBD, NBD_CMD_READ"),
)
def test(new_disk, guest, scratch):
    disk = new_disk("4M", prefill=False)
    plugged = [(disk.blockdev(), Device())]
    here = guest(plugged=plugged)
    uri = f"unix:{scratch / 'migration'}"
    there = guest(plugged=plugged, incoming=uri, start=False)
    path = here.disks[0].path
    load = here.begin(OPTIONS.format(path) + " --loops=12")
    here.wait_writes(here.disks[0])
    here.machine.qmp("stop")  # memory that changes may arrive damaged (docs/findings.md)
    here.machine.qmp("migrate", uri=uri)
    there.start()
    status = here.machine.qmp("query-migrate")["status"]
    expect_equal(status, "completed", "status of the migration")
    expect_equal(there.disks[0].path, path, "the disk's name at the destination")
    moved = Running(there.agent, load.command, load.pid)
    assert moved.is_running, "the load ended before the guest had moved"
    here.quit()
    ran = moved.wait(120)
    assert ran.status == 0, f"fio in the guest: {(ran.errors or ran.output)[:500]}"
    there.run(OPTIONS.format(path) + " --verify_only=1")
    there.run(OPTIONS.format(path))

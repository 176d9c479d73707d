"""This case checks that a mirror of a guest's disk under load is complete after the pivot.

How: fio writes while the disk is mirrored to a second volume. The guest pivots to it under load,
and fio verifies there.
Guards: phantom-write, resize-during-copy, misdirected-write.
"""

from qbdcheck.kit import case

OPTIONS = (
    "--name=load --filename=/dev/vdb --ioengine=libaio --direct=1 --bs=4k --iodepth=8"
    " --rw=randwrite --verify=md5 --size=4m"
)


@case(
    groups="guest mirror",
    programs="qemu-system-x86_64",
    limit_s=180,
    basis="MUST: QAPI, blockdev-mirror",
)
def test(new_disk, guest, fio):
    first, second = new_disk("4M", prefill=False), new_disk("4M")
    system = guest(first)
    run = fio(system)
    vm, node = system.machine, system.disks[0].node
    vm.add(second.blockdev(node_name="second"))
    load = run.begin(*OPTIONS.split(), "--loops=4")
    system.wait_writes(system.disks[0])
    job = {"job_id": "mirror", "auto_dismiss": False}
    vm.qmp("blockdev-mirror", **job, device=node, target="second", sync="full")
    vm.wait_job("mirror", to="ready", within_s=60)
    assert load.is_running, "the load ended too early"
    vm.qmp("job-complete", id="mirror")
    vm.wait_job("mirror", within_s=60)
    vm.qmp("blockdev-del", node_name=node)
    load.wait().must_be_clean()
    run(*OPTIONS.split(), "--verify_only=1").must_be_clean()

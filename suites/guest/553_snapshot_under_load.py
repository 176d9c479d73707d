"""This case checks that a snapshot and a commit under a guest's load lose nothing.

How: fio writes while an overlay is added, and while it is committed into the target. fio verifies
then, and again on the target alone.
Guards: phantom-write, snapshot-not-point-in-time, misdirected-write.
"""

from qbdcheck.kit import case

OPTIONS = (
    "--name=load --filename=/dev/vdb --ioengine=libaio --direct=1 --bs=4k --iodepth=8"
    " --rw=randwrite --verify=md5 --size=4m"
)


@case(
    groups="guest snapshot commit",
    programs="qemu-system-x86_64",
    limit_s=180,
    basis="MUST: QAPI, block-commit",
)
def test(new_disk, guest, fio, scratch, qemu_img):
    disk = new_disk("4M", prefill=False)
    system = guest(disk)
    run = fio(system)
    overlay = scratch / "overlay.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", overlay, str(disk.size))
    file = {"driver": "file", "filename": str(overlay)}
    load = run.begin(*OPTIONS.split(), "--loops=4")
    vm, node = system.machine, system.disks[0].node
    vm.add({"driver": "qcow2", "node-name": "overlay", "file": file, "backing": None})
    system.wait_writes(system.disks[0])
    vm.qmp("blockdev-snapshot", node=node, overlay="overlay")
    assert load.is_running, "the load ended too early"
    job = {"job_id": "commit", "auto_dismiss": False}
    vm.qmp("block-commit", **job, device="overlay", base_node=node)
    vm.wait_job("commit", to="ready", within_s=60)
    vm.qmp("job-complete", id="commit")
    vm.wait_job("commit", within_s=60)
    load.wait().must_be_clean()
    run(*OPTIONS.split(), "--verify_only=1").must_be_clean()

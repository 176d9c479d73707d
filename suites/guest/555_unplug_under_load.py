"""This case checks that a disk unplugged under load and plugged in again keeps its data.

How: fio verifies a disk. device_del ends a second load with errors in the guest and nowhere else.
The disk is plugged in again and has what was verified before. The other disk is not affected.
Guards: zombie-write-after-reconnect, cross-connection-state.
"""

from qbdcheck.kit import case

OPTIONS = (
    "--name=load --filename=/dev/vdb --ioengine=libaio --direct=1 --bs=4k --iodepth=8"
    " --rw=randwrite --verify=md5 --size=4m"
)


@case(
    groups="guest device slow",
    programs="qemu-system-x86_64",
    limit_s=180,
    basis="MUST: QAPI, device_del",
)
def test(new_disk, guest, fio):
    system = guest(new_disk("6M", prefill=False), new_disk("4M", prefill=False))
    system.expected += ["error, dev vdb", "error on dev vdb"]
    run = fio(system)
    run(*OPTIONS.split()).must_be_clean()
    first, other = system.disks
    beside = run.begin(*OPTIONS.replace("/dev/vdb", other.path).split())
    options = "--offset=4m --size=2m --loops=50 --allow_file_create=0"
    load = run.begin(*OPTIONS.split(), *options.split())
    system.wait_writes(first)
    system.detach(first)
    assert load.wait().status != 0, "fio did not report that its disk is gone"
    beside.wait().must_be_clean()
    again = system.attach(first, identity="again")
    options = OPTIONS.replace("/dev/vdb", again.path).split()
    run(*options, "--verify_only=1").must_be_clean()
    run(*options).must_be_clean()

"""This case checks that a disk unplugged under load and plugged in again has what was written.

How: fio verifies a disk; a second load is cut off by device_del, with errors in the guest and no
more; the disk comes back and what was verified before is there, and the other disk never noticed.
Guards: zombie-write-after-reconnect, cross-connection-state.
"""

from qbdcheck.kit import case

WORDS = (
    "--name=load --filename=/dev/vdb --ioengine=libaio --direct=1 --bs=4k --iodepth=8"
    " --rw=randwrite --verify=md5 --size=4m"
)


@case(groups="guest device slow", programs="qemu-system-x86_64", limit_s=180)
def test(new_disk, guest, fio):
    system = guest(new_disk("6M", prefill=False), new_disk("4M", prefill=False))
    system.expected += ["error, dev vdb", "error on dev vdb"]
    run = fio(system)
    run(*WORDS.split()).must_be_clean()
    first, other = system.disks
    beside = run.begin(*WORDS.replace("/dev/vdb", other.path).split())
    words = "--offset=4m --size=2m --loops=50 --allow_file_create=0"
    load = run.begin(*WORDS.split(), *words.split())
    system.wait_writes(first)
    system.detach(first)
    assert load.wait().status != 0, "fio did not notice that its disk has gone"
    beside.wait().must_be_clean()
    again = system.attach(first.node, identity="again")
    words = WORDS.replace("/dev/vdb", again.path).split()
    run(*words, "--verify_only=1").must_be_clean()
    run(*words).must_be_clean()

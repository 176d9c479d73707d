"""This case checks that a guest does not notice a restart of the backend within reconnect-delay.

How: fio runs while the backend ends and starts again within reconnect-delay: no error, and all data
is verified. Without a delay the guest gets clean errors and continues, and the data that was
verified before is still there.
Guards: zombie-write-after-reconnect, inflight-hang-on-disconnect, flush-noop.
"""

from errno import EIO

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal

OPTIONS = (
    "--name=load --filename=/dev/vdb --ioengine=libaio --direct=1 --bs=4k --iodepth=8"
    " --rw=randwrite --verify=md5 --size=4m"
)


@case(
    groups="guest crash",
    requires="nbd",
    programs="qemu-system-x86_64",
    limit_s=180,
    basis="MUST: QAPI, BlockdevOptionsNbd",
)
def test(new_disk, guest, fio):
    disk = new_disk("4M", prefill=False)
    node = disk.blockdev()
    node["file"]["reconnect-delay"] = 30
    system = guest(node)
    run = fio(system)
    load = run.begin(*OPTIONS.split(), "--loops=3")
    for _turn in range(3):
        system.wait_writes(system.disks[0])
        disk.backend.stop()
        disk.backend.start()
    assert load.is_running, "the load ended too early"
    load.wait().must_be_clean()
    run(*OPTIONS.split(), "--verify_only=1").must_be_clean()

    hasty = new_disk("8M", prefill=False)
    system.expected += ["error, dev vdc", "error on dev vdc"]
    path = system.attach(hasty.blockdev()).path
    options = OPTIONS.replace("/dev/vdb", path).split()
    run(*options).must_be_clean()
    load = run.begin(*options, "--offset=4m", "--loops=50")
    system.wait_writes(system.disks[1])
    hasty.backend.stop()
    expect_equal(load.wait().result.error, EIO, "the server is away: the errno that fio saw")
    hasty.backend.start()
    read_again = f"n=0; until dd if={path} of=/dev/null bs=4k count=1 iflag=direct; do"
    system.run(f"{read_again} n=$((n+1)); [ $n -lt 50 ] || exit 1; sleep 0.2; done 2>&1")
    run(*options, "--verify_only=1").must_be_clean()
    run(*options, "--offset=4m").must_be_clean()

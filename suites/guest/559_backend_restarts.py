"""This case checks that a guest does not notice that the backend restarts while it may reconnect.

How: fio under load; the backend ends and starts again within reconnect-delay: no error, and all
data is verified. Without a delay the guest gets clean errors and lives on, and what was verified
before is still there.
Guards: zombie-write-after-reconnect, inflight-hang-on-disconnect, flush-noop.
"""

from qbdcheck.kit import case

WORDS = (
    "--name=load --filename=/dev/vdb --ioengine=libaio --direct=1 --bs=4k --iodepth=8"
    " --rw=randwrite --verify=md5 --size=4m"
)


@case(groups="guest crash", requires="nbd", programs="qemu-system-x86_64", limit_s=180)
def test(new_disk, guest, fio):
    disk = new_disk("4M", prefill=False)
    node = disk.blockdev()
    node["file"]["reconnect-delay"] = 30
    system = guest(node)
    run = fio(system)
    load = run.begin(*WORDS.split(), "--loops=3")
    for _turn in range(3):
        system.wait_writes(system.disks[0])
        disk.backend.stop()
        disk.backend.start()
    assert load.is_running, "the load ended too early"
    load.wait().must_be_clean()
    run(*WORDS.split(), "--verify_only=1").must_be_clean()

    hasty = new_disk("8M", prefill=False)
    system.expected += ["error, dev vdc", "error on dev vdc"]
    path = system.attach(hasty.blockdev()).path
    words = WORDS.replace("/dev/vdb", path).split()
    run(*words).must_be_clean()
    load = run.begin(*words, "--offset=4m", "--loops=50")
    system.wait_writes(system.disks[1])
    hasty.backend.stop()
    assert load.wait().result.error == 5
    hasty.backend.start()
    look = f"n=0; until dd if={path} of=/dev/null bs=4k count=1 iflag=direct; do"
    system.run(f"{look} n=$((n+1)); [ $n -lt 50 ] || exit 1; sleep 0.2; done 2>&1")
    run(*words, "--verify_only=1").must_be_clean()
    run(*words, "--offset=4m").must_be_clean()

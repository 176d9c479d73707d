"""This case checks that all writes that fio saw complete are there after a guest's power cut.

How: fio is interrupted during random writes and saves its state: the issued writes, and those in
flight. QEMU is killed. In a new guest fio verifies up to that state. Without the state fio would
miss blocks that were never written, and must report them.
Guards: phantom-write, flush-noop, misdirected-write, fua-write-ack-early.
"""

from qbdcheck.kit import CaseBroken, case

OPTIONS = (
    "--name=cut --filename=/dev/vdb --ioengine=libaio --direct=1 --bs=4k --iodepth=16"
    " --rw=randwrite --verify=crc32c --aux-path=/tmp/state"
)
WRITES = 100
"""More than so many writes must be on the disk at the cut, or the case proves too little."""


@case(
    groups="guest crash",
    programs="qemu-system-x86_64",
    limit_s=180,
    basis=("MUST: fio(1), verify_state", "POLICY: answered-writes-outlive-their-connection"),
)
def test(new_disk, guest, fio, log):
    disk = new_disk("64M", prefill=False)
    system = guest(disk)
    system.run("mkdir /tmp/state")
    system.write_file("/tmp/trigger", "#!/bin/sh\ntouch /tmp/triggered\nsleep 60\n")
    system.run("chmod +x /tmp/trigger")
    options = "--do_verify=0 --rate_iops=1500 --trigger-timeout=3 --trigger=/tmp/trigger"
    load = fio(system).begin(*OPTIONS.split(), *options.split())
    system.run("until [ -e /tmp/triggered ]; do sleep 0.05; done")
    assert load.is_running, "fio ended before the cut"
    names = system.run("ls /tmp/state").split()
    assert len(names) == 1, f"fio saved {len(names)} files of state ({names}), expected 1"
    state = system.read_file(f"/tmp/state/{names[0]}")
    system.kill()

    system = guest(disk)
    run = fio(system)
    system.run("mkdir /tmp/state")
    system.write_file(f"/tmp/state/{names[0]}", state)
    result = run(*OPTIONS.split(), "--verify_only=1", "--verify_state_load=1").must_be_clean()
    log(*result.summary())
    verified = result.jobs[0].read.requests
    if verified <= WRITES:
        raise CaseBroken(f"the guest had written only {verified} blocks in 3 s")
    assert verified < disk.size // 4096, f"{verified} blocks were verified"
    assert run(*OPTIONS.split(), "--verify_only=1").result.failures, (
        "fio found no fault in blocks that were never written"
    )

"""This case checks that all writes that fio saw complete are there after a guest's reboot.

How: fio is interrupted during random writes and saves its state. The guest reboots without a sync,
first by its kernel and then by the reset button (system_reset). QEMU, its nodes and the connection
to the target stay. fio verifies up to that state.
Guards: phantom-write, misdirected-write, silent-bit-flip.
"""

from qbdcheck.kit import CaseBroken, case

OPTIONS = (
    "--name=cut --ioengine=libaio --direct=1 --bs=4k --iodepth=16 --rw=randwrite --verify=crc32c"
    " --aux-path=/tmp/state"
)
WRITES = 100
"""More than so many writes must be on the disk at the reboot, or the case proves too little."""


@case(
    groups="guest slow",
    programs="qemu-system-x86_64",
    limit_s=400,
    basis="MUST: fio(1), verify_state",
)
def test(new_disk, guest, fio, log):
    disk = new_disk("32M", prefill=False)
    system = guest(disk)
    for hard in (False, True):
        system.run("mkdir /tmp/state")
        system.write_file("/tmp/trigger", "#!/bin/sh\ntouch /tmp/triggered\nsleep 60\n")
        system.run("chmod +x /tmp/trigger")
        where = f"--filename={system.disks[0].path}"
        seed = f"--randseed={7 + hard}"
        options = "--do_verify=0 --rate_iops=1500 --trigger-timeout=3 --trigger=/tmp/trigger"
        load = fio(system).begin(*OPTIONS.split(), where, seed, *options.split())
        system.run("until [ -e /tmp/triggered ]; do sleep 0.05; done")
        assert load.is_running, "fio ended before the reboot"
        (name,) = system.run("ls /tmp/state").split()
        state = system.read_file(f"/tmp/state/{name}")
        system.reboot(hard=hard)

        assert not system.run("ls /tmp"), "files in memory survived the reboot"
        system.run("mkdir /tmp/state")
        system.write_file(f"/tmp/state/{name}", state)
        where = f"--filename={system.disks[0].path}"
        options = "--verify_only=1 --verify_state_load=1"
        result = fio(system)(*OPTIONS.split(), where, seed, *options.split()).must_be_clean()
        log(hard, *result.summary())
        verified = result.jobs[0].read.requests
        if verified <= WRITES:
            raise CaseBroken(f"the guest had written only {verified} blocks in 3 s")
        assert verified < disk.size // 4096, f"{verified} blocks were verified"
        system.run("rm -r /tmp/state")

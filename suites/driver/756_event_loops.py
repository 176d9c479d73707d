"""This case checks that a node works in an iothread, and after a move to another event loop.

How: a node moves from the main loop into two iothreads and back. In each of them 32 writes are in
flight together, also while it moves, and a flush comes behind them.
Guards: misdirected-write, inflight-hang-on-disconnect.
"""

from qbdcheck.kit import case

LOOPS = (None, "io1", "io2", None)
KIB = 1 << 10


@case(
    groups="concurrent device",
    requires="own_driver",
    programs="qemu-system-x86_64",
    limit_s=60,
    basis="MUST: QAPI, x-blockdev-set-iothread",
)
def test(disk, machine):
    objects = [part for name in ("io1", "io2") for part in ("-object", f"iothread,id={name}")]
    drive = ["-drive", f"file={disk.backend.filename},format=raw,if=none,id=disk,node-name=node"]
    with machine(*objects, *drive, kind="pc") as vm:

        def human(line):
            vm.execute("human-monitor-command", {"command-line": f'qemu-io disk "{line}"'})

        for number, loop in enumerate(LOOPS):
            vm.execute(
                "x-blockdev-set-iothread", {"node-name": "node", "iothread": loop, "force": True}
            )
            for place in range(32):
                pattern, offset = 32 * number + place + 1, (place << 17) + (number << 15)
                human(f"aio_write -q -P {pattern} {offset} {20 * KIB}")
                disk.shadow.write(offset, bytes([pattern]) * (20 * KIB))
            human("flush")  # not aio_flush, which deadlocks in an iothread of QEMU 7.2
    disk.verify()

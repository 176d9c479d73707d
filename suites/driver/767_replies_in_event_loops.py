"""This case checks that requests in flight continue in the event loop of their node.

How: in an iothread, in a second one and in the main loop, 24 reads and writes are in flight
together, and the backend holds back some of them. A request whose reply another one has read must
be woken up in the event loop where it waits. Then a flush follows, and all data is read.
Guards: misdirected-write, inflight-hang-on-disconnect.
"""

from qbdcheck.kit import case

KIB = 1 << 10
LOOPS = ("io1", "io2", None)


@case(
    groups="concurrent device",
    requires="own_driver control",
    programs="qemu-system-x86_64",
    limit_s=60,
    basis="MUST: QAPI, x-blockdev-set-iothread",
)
def test(disk, machine, rules):
    objects = [part for name in ("io1", "io2") for part in ("-object", f"iothread,id={name}")]
    drive = ["-drive", f"file={disk.backend.filename},format=raw,if=none,id=disk,node-name=node"]
    for event, offset in (("write_aio", 3), ("read_aio", 6), ("write_aio", 9)):
        for loop in range(len(LOOPS)):
            at = ((offset << 17) + (loop << 15)) // 512
            slow = {"event": event, "sector": f"{at}-{at + 7}", "action": "delay"}
            rules.add({**slow, "milliseconds": 300})
    with machine(*objects, *drive, kind="pc") as vm:

        def human(line):
            vm.execute("human-monitor-command", {"command-line": f'qemu-io disk "{line}"'})

        for number, loop in enumerate(LOOPS):
            vm.execute(
                "x-blockdev-set-iothread", {"node-name": "node", "iothread": loop, "force": True}
            )
            for place in range(24):
                offset = (place << 17) + (number << 15)
                if place % 2:
                    pattern = 24 * number + place + 1
                    human(f"aio_write -q -P {pattern} {offset} {20 * KIB}")
                    disk.shadow.write(offset, bytes([pattern]) * (20 * KIB))
                else:
                    human(f"aio_read -q {offset} {20 * KIB}")
            human("flush")
    disk.verify()

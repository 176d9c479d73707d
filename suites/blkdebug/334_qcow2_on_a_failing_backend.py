"""This case checks that a qcow2 image survives an error of its volume at any write and any flush.

How: the backend, and no layer of QEMU, fails the 1st, 2nd, 3rd, ... write of a workload, then each
flush. The image is checked after each, and every byte is compared.
Guards: async-error-ignored, flush-error-swallowed, map-entry-shifted.
Related: torn-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import errno_name
from qbdcheck.kit.fault_schedule import Schedule
from qbdcheck.kit.faulty_image import FaultyImage


@case(
    groups="inject errors qcow2 flush slow",
    requires="nbd flush",
    basis=(
        "MUST: QEMU, interop/qcow2",
        "MUST: NBD, NBD_CMD_FLUSH",
        "POLICY: image-survives-errors",
    ),
)
def test(new_disk, qemu_io, qemu_img, rules, log):
    disk = new_disk("2M", prefill=False, format="qcow2")
    disk.create_image(disk.size, "cluster_size=4096")
    image = FaultyImage(disk, qemu_io, qemu_img)
    schedule = Schedule(rules.on(disk), log)
    place = 0

    def act(io):
        io.write(place, 10_000)
        io.discard(place + 4096, 4096)
        io.write(place + 2000, 6_000)
        io.flush()  # last: only then the exit status of qemu-io reports a failed flush

    for kind, event in (("write", "write_aio"), ("flush", "flush_to_disk")):
        reported = 0
        for turn in schedule.sweep({"event": event, "errno": "EIO", "iotype": kind}):
            seen = image.strike({}, act)
            assert turn.fired or not seen, (
                f"{kind} {turn.number}: no error was injected, but got {errno_name(seen)}"
            )
            # Not every error has to be reported: a table may be written again, freed clusters may
            # leak, and at the flush of a close all data is durable. But nothing may be lost.
            reported += bool(seen)
            place += 20_480
        assert reported > 1, f"expected more than 1 error of {kind}, got {reported}"
        disk.verify()
    image.repair()
    disk.verify()

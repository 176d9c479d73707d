"""This case checks that a qcow2 image survives an error of its volume at any write and any flush.

How: the backend, and no layer of QEMU, fails the 1st, 2nd, 3rd, ... write of a workload, then each
flush; the image is checked after each and every byte is compared.
Guards: async-error-ignored, flush-error-swallowed, map-entry-shifted, torn-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.fault_schedule import Schedule
from qbdcheck.kit.faulty_image import FaultyImage


@case(groups="inject errors qcow2 flush slow", requires="nbd flush")
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
        io.flush()  # last: only then does the exit status of qemu-io tell of it

    for kind, event in (("write", "write_aio"), ("flush", "flush_to_disk")):
        told = 0
        for turn in schedule.sweep({"event": event, "errno": "EIO", "iotype": kind}):
            seen = image.strike({}, act)
            assert turn.fired or not seen, (kind, turn.number, seen)
            # not all need be told: a table may be written again, clusters may leak when they are
            # freed, and the flush of a close comes when all data is safe; but nothing may be lost
            told += bool(seen)
            place += 20_480
        assert told > 1, kind
        disk.verify()
    image.repair()
    disk.verify()

"""This case checks that a request that takes long in the storage is carried out once.

How: the storage delays a write and zeroes, for a moment and for 0.7 s. After their replies other
data is written to the same places, and read several times with pauses between: nothing of the slow
requests may come back.
Guards: slow-write-done-again.
Related: zombie-write-after-reconnect, failed-write-done-later.
"""

from qbdcheck.kit import case, pause
from qbdcheck.kit.nbd import Command, TransmissionFlag

DELAYS_MS, SLOT, LENGTH = (30, 700), 65536, 8192
AFTER_S = 0.7


@case(
    groups="errors inject rw concurrent",
    requires="nbd",
    basis=("MUST: NBD, NBD_CMD_WRITE", "POLICY: requests-take-effect-at-one-moment"),
)
def test(new_disk, nbd_io, rules):
    disk = new_disk("1M")
    rules = rules.on(disk)
    with nbd_io(disk) as io:
        kinds = [(Command.WRITE, "write_aio")]
        if io.offers(TransmissionFlag.SEND_WRITE_ZEROES):
            kinds.append((Command.WRITE_ZEROES, "pwritev_zero"))
        for milliseconds in DELAYS_MS:
            slots = range(len(kinds))
            armed = [
                rules.add({"event": event, "action": "delay", "milliseconds": milliseconds})
                for _, event in kinds
            ]
            for slot, (command, _) in zip(slots, kinds, strict=True):
                io.send(command, slot * SLOT, LENGTH)
            io.finish_all()
            for rule in armed:
                rules.remove(rule)
            for slot in slots:
                io.write(slot * SLOT, LENGTH // 2)
                io.read(slot * SLOT, LENGTH)
        for _ in range(4):
            pause(AFTER_S / 4)
            for slot in slots:
                io.read(slot * SLOT, LENGTH)
    disk.verify()

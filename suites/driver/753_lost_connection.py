"""This case checks that the driver connects again after a lost connection, and repeats requests.

How: the backend ends the connection before, within and after replies, to single requests and to 16
in flight together. Each request must succeed or fail; none may hang; no byte may be wrong.
Guards: zombie-write-after-reconnect, inflight-hang-on-disconnect, connection-slot-leak.
"""

from qbdcheck.kit import case

PLACES = ("before-request", "before-reply", "mid-reply", "after-reply")


@case(
    groups="errors rw concurrent",
    requires="own_driver control",
    limit_s=60,
    basis="MUST: NBD, NBD_CMD_WRITE",
)
def test(disk, qemu_io, rules):
    with qemu_io(disk) as io:
        for round_, when in enumerate(PLACES):
            for event in ("write_aio", "read_aio"):
                rules.add({"event": event, "action": "disconnect", "when": when, "once": True})
                io.write((round_ << 20) + 4096, 20_000)
                io.read((round_ << 20) + 8192, 20_000)
            rules.add({"event": "write_aio", "action": "disconnect", "when": when, "once": True})
            for number in range(16):
                io.aio_write((round_ << 20) + (number << 15), 12_288)
            io.drain()
    disk.verify()

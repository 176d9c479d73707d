"""This case checks that each reply reaches its own request, in whatever order replies come.

How: 32 reads and 16 writes are in flight together, and the backend holds back some of them, so that
later ones are answered first. Each read must return the data of its own place.
Guards: shared-cursor-race, misdirected-write.
"""

from qbdcheck.kit import case


@case(
    groups="concurrent",
    requires="own_driver control",
    limit_s=30,
    basis="MUST: NBD, Ordering of messages and writes",
)
def test(disk, qemu_io, rules):
    with qemu_io(disk) as io:
        for event, sector in (("read_aio", 256), ("write_aio", 8192 + 256), ("read_aio", 1536)):
            slow = {"event": event, "sector": f"{sector}-{sector + 7}", "action": "delay"}
            rules.add({**slow, "milliseconds": 150})
        for number in range(32):
            io.aio_read(number << 16, 4096)
        for number in range(16):
            io.aio_write((4 << 20) + (number << 16), 4096)
        io.drain()
    disk.verify()

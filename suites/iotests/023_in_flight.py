"""This case checks that many writes in flight together each reach their own place.

How: 64 writes of different sizes in random order, with reads of other places among them, then 64
small writes next to each other.
Guards: misdirected-write, merge-after-issue.
Related: shared-cursor-race.
"""

from qbdcheck.kit import case


@case(groups="rw quick concurrent", formats="any", basis="MUST: NBD, NBD_CMD_READ")
def test(disk, qemu_io, seed):
    order = seed.stream("order")
    places = [(number * 65536 + order.randrange(8192), 1 + order.randrange(49152))
              for number in range(96)]  # fmt: skip
    order.shuffle(places)
    with qemu_io(disk) as io:
        for offset, length in places[:64]:
            io.aio_write(offset, length)
        for offset, length in places[64:]:
            io.aio_read(offset, min(length, 4096))
        io.drain()
        for number in range(64):
            io.aio_write((7 << 20) + number * 1024, 1024)
        io.drain()
    disk.verify()

"""This case checks that many reads in flight together each return the data of their place.

How: no client writes, so the case also runs on read-only targets. Four times, 16 reads of 1 byte
to 150 KB are in flight at random offsets. Some overlap.
Guards: last-block-overrun, short-read-resume-offset, inflight-hang-on-disconnect.
"""

from qbdcheck.kit import case

LENGTHS = (1, 512, 4097, 20_000, 65_537, 150_001)


@case(groups="rw concurrent reading quick", basis="MUST: NBD, NBD_CMD_READ")
def test(disk, qemu_io, seed):
    random = seed.stream("places")
    with qemu_io(disk, read_only=True) as io:
        for _ in range(4):
            for _ in range(16):
                length = random.choice(LENGTHS)
                io.aio_read(random.randrange(disk.size - length + 1), length)
            seen = len(io.drain())
            assert seen == 16, f"expected 16 reads, {seen} ended"
    disk.verify()

"""This case checks that a power cut after a flush leaves the newest of all overlapping changes.

How: a small volume is written and zeroed again and again at overlapping places, then flushed. The
power is cut at once: nothing is pending, so each byte must be the newest. If the volume can grow,
it grows between, and its size must survive the flush and the cut.
Guards: replay-in-offset-order, journal-misses-zeroes, grow-not-durable, zero-unmap-not-durable.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_bytes
from qbdcheck.kit.nbd import TransmissionFlag
from qbdcheck.kit.server_ends import cut, rounds

KIB, ROUNDS = 1 << 10, 12


@case(
    groups="flush crash zero quick",
    requires="raw_requests flush sudden_end",
    basis="MUST: NBD, NBD_CMD_FLUSH",
)
def test(new_disk, nbd_io, target, seed):
    step = 16 * max(target.minimum_block, 4 * KIB)
    disk = new_disk(step)
    random = seed.stream("places")
    for round_ in rounds(ROUNDS):
        if round_ % 3 == 1 and "resize" in target.capabilities:
            disk.resize(disk.size + step)
        with nbd_io(disk) as io:
            expect_bytes(io.client.size, disk.size, f"{disk.name} after a power cut")
            unit = max(512, io.block_sizes[0])
            for number in range(10):
                length = random.randrange(1, 9) * unit
                offset = random.randrange(0, (disk.size - length) // unit + 1) * unit
                is_zero = number % 2 and io.offers(TransmissionFlag.SEND_WRITE_ZEROES)
                (io.write_zeroes if is_zero else io.write)(offset, length)
                io.write(max(0, offset - unit), unit * 2)
            io.write_zeroes(offset, length) if is_zero else io.write(offset, length)
            io.flush()
            cut(disk, seed + round_)
        disk.verify()

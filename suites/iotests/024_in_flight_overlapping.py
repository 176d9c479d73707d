"""This case checks that overlapping writes in flight all complete, and each sector comes from one
of them.

How: rounds of writes over one range, with other writes across their edges. Any of them may win, but
no sector may be a mixture. What was read once must stay.
Related: overlap-deadlock, merge-after-issue, torn-write.
"""

from qbdcheck.kit import case


@case(
    groups="rw concurrent",
    formats="any",
    basis=("MUST: NBD, NBD_CMD_READ", "POLICY: overlapping-writes-leave-one"),
)
def test(disk, qemu_io):
    with qemu_io(disk) as io:
        for round_number in range(4):
            start = round_number << 20
            for number in range(12):
                io.aio_write(start + number % 3 * 65536, 262144)
                io.aio_write(start + number * 8192, 16384)
            io.drain()
            io.read(start, 32768)
    disk.verify()

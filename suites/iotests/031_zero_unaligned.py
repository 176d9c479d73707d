"""This case checks that write-zeroes of any start and length zeroes exactly that range.

How: a sweep of starts and lengths around 512 and 4096 bytes, each in its own prefilled 64 KiB.
Guards: zero-via-nondeterministic-discard.
Related: discard-overreach, unaligned-offset-rounded.
"""

from qbdcheck.kit import case

EDGES = (1, 511, 512, 513, 4095, 4096, 4097)


@case(
    groups="rw quick zero",
    requires="write_zeroes",
    formats="any",
    basis=("MUST: NBD, NBD_CMD_WRITE_ZEROES", "MUST: NBD, NBD_CMD_READ"),
)
def test(disk, qemu_io):
    spot = 0
    with qemu_io(disk) as io:
        for start in EDGES:
            for length in (*EDGES, 20000):
                io.write_zeroes(spot + start, length, unmap=length % 2 == 1)
                spot += 64 << 10
        assert spot <= disk.size, f"the sweep ends at {spot}, behind the end of the disk"
    disk.verify()

"""This case checks that a volume of 100 TiB costs nothing until written, and aliases no offset.

How: a stamp at 0 and at every power of two from 2^31 to 2^46, one block to either side; all must
stay apart, and the last block of the volume must work.
Guards: offset-32bit-wrap, size-int-overflow.
"""

from qbdcheck.kit import NotRun, SetupError, case

SIZE = 100 << 40


@case(groups="size quick")
def test(new_disk, qemu_io):
    try:
        disk = new_disk(SIZE, prefill=False)
    except SetupError as error:
        if "large" not in str(error).lower():
            raise
        raise NotRun(f"the target makes no volume of 100 TiB: {error}") from error
    places = [0, SIZE - 4096]
    for bits in range(31, 47):
        places += [(1 << bits) - 4096, 1 << bits]
    with qemu_io(disk) as io:
        for start in places:
            io.write(start, 4096)
        for start in places:
            io.read(start, 4096)
        io.discard(1 << 41, 4096)
        io.write_zeroes(1 << 43, 4096)
        for start in places:
            io.read(start, 4096)

"""This case checks that the largest volume that NBD can name, 2^63 - 1 bytes, works at both ends.

How: on the wire: negotiated size, first and last bytes, and offsets whose sum with a length wraps.
Guards: negative-size, offset-len-overflow, size-int-overflow.
"""

from qbdcheck.kit import NotRun, SetupError, case
from qbdcheck.kit.nbd import Command

SIZE = (1 << 63) - 1


@case(groups="size quick protocol", requires="nbd raw_size")
def test(new_disk, nbd_io):
    try:
        disk = new_disk(SIZE, prefill=False)
    except SetupError as error:
        raise NotRun(f"the target makes no volume of 2^63 - 1 bytes: {error}") from error
    with nbd_io(disk) as io:
        assert io.client.size == SIZE, f"asked for {SIZE} bytes, got {io.client.size}"
        for offset in (0, (1 << 32) - 2048, SIZE // 2, SIZE - 5000):
            io.write(offset, 4096)
            io.read(offset, 4096)
        for offset, length in ((SIZE, 1), (SIZE - 1, 2), ((1 << 64) - 512, 512), (1 << 63, 4096)):
            io.must_refuse(Command.READ, offset, length)
            io.must_refuse(Command.WRITE, offset, length)
        io.read(SIZE - 5000, 4096)
        io.read(1 << 40, 65536)

"""This case checks that a full file system below the volume costs only the writes that report it.

How: an empty volume of 4 MiB on a file system of 2 MiB. Writes of many sizes until there is no
space, and more around that point; each is acknowledged and there, or fails and is old or new. Reads
work. After a discard writes work again. The acknowledged data is there after the server's end.
Guards: async-error-ignored, error-kills-connection.
Basis: MUST: NBD, NBD_ENOSPC
"""

from errno import EDQUOT, EIO, ENOSPC

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.nbd import TransmissionFlag
from qbdcheck.kit.nbd_requests import widened
from qbdcheck.kit.request_errors import RequestFailed
from qbdcheck.kit.server_ends import end, ways_of
from qbdcheck.kit.small_space import limited_space

KIB, SIZE, LIMIT = 1 << 10, 4 << 20, 2 << 20
SIZES = (512, 4 * KIB, 64 * KIB - 512, 64 * KIB, 256 * KIB, 300 * KIB)
FULL = {ENOSPC, EDQUOT, EIO}


@case(
    groups="inject errors size discard",
    requires="raw_requests flush",
    basis=("MUST: NBD, Error values", "POLICY: failed-write-old-or-new"),
)
def test(new_disk, nbd_io, scratch, seed):
    with limited_space(scratch, LIMIT):
        disk = new_disk(SIZE, prefill=False)
        run_out(disk, nbd_io, seed.stream("writes"))
    for way in ways_of(disk):
        end(disk, way, seed)
        with nbd_io(disk) as io:
            io.read(0, SIZE)


def run_out(disk, nbd_io, random):
    """Fill the file system, free space, and write again."""
    with nbd_io(disk) as io:
        refused = fill(io, random)
        if not refused:
            raise NotRun("the volumes of this target are not in the file system of the case")
        io.read(0, SIZE)
        if io.offers(TransmissionFlag.SEND_TRIM):
            io.discard(0, SIZE // 2)
            io.discard(0, SIZE // 2)
            for at in range(0, 256 * KIB, 64 * KIB):
                io.write(at, 16 * KIB)
        io.flush()
        io.read(0, SIZE)


def fill(io, random):
    """Write all over the volume; return how many writes failed."""
    refused = 0
    for number in range(120):
        length = random.choice(SIZES)
        at, length = widened(random.randrange(0, SIZE - length, 512), length, io.block_sizes[0])
        try:
            io.write(at, length)
        except RequestFailed as error:
            assert error.errno in FULL, f"{error}: expected ENOSPC"
            refused += 1
            io.read(at, length)
        if number % 40 == 39:
            io.read(0, SIZE)
    return refused

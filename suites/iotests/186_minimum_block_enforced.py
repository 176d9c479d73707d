"""This case checks that a minimum block size is advertised, and that smaller requests do no harm.

How: minimum blocks of 512, 4096 and 65536 bytes. Aligned writes, write zeroes and discards work
everywhere. Unaligned requests either fail or do exactly what they ask for, and the connection stays
usable.
Guards: min-block-underadvertised, discard-in-large-sectors.
Related: unaligned-offset-rounded, sector-unit-mismatch.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, TransmissionFlag
from qbdcheck.kit.request_errors import RequestFailed, RequestHangs, RequestLost


@case(
    groups="blocksize quick protocol",
    requires="nbd min_block",
    basis=("MUST: NBD, Block size constraints", "POLICY: refused-request-changes-nothing"),
)
def test(new_disk, nbd_io):
    for minimum in (512, 4096, 65536):
        disk = new_disk("1M", min_block=minimum)
        with nbd_io(disk) as io:
            sizes = io.block_sizes
            seen = f"expected a minimum block of {minimum}, got the sizes {sizes}"
            assert sizes[0] == minimum, seen
            for offset in (0, minimum, disk.size - minimum):
                io.write(offset, minimum)
            for change, flag, block in (
                (io.discard, TransmissionFlag.SEND_TRIM, 8),
                (io.write_zeroes, TransmissionFlag.SEND_WRITE_ZEROES, 11),
            ):
                if io.offers(flag):
                    change(block * minimum, 2 * minimum)
                    io.write((block + 1) * minimum, minimum)
            io.read(0, disk.size)
        for offset, length in ((minimum // 2, minimum), (0, minimum // 2), (1, 1)):
            with nbd_io(disk) as io:
                io.attempt(Command.WRITE, offset, length, exact=True)
            with nbd_io(disk) as io:
                try:
                    io.read(offset, length, exact=True)
                except RequestHangs:
                    raise
                except (RequestFailed, RequestLost):
                    pass  # the server may refuse it, or end the connection
        with nbd_io(disk) as io:
            io.flush()
        disk.verify()

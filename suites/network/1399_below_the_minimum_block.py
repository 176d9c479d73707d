"""This case checks that a request that is not aligned to the minimum block harms nothing.

How: on a target that advertises a minimum block, or can be started with one of 4 KiB, requests of
each kind that begin or end inside a block. The server may refuse each, end the connection, or do
exactly what was asked. It must go on to serve, no byte outside the range may change, and nothing of
a refused change may be there.
Guards: payload-not-drained.
Related: unaligned-offset-rounded.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.nbd import Command, TransmissionFlag
from qbdcheck.kit.nbd_probe import CLOSED, connected, errno_of, is_serving

OFFERED = {
    Command.WRITE_ZEROES: TransmissionFlag.SEND_WRITE_ZEROES,
    Command.TRIM: TransmissionFlag.SEND_TRIM,
    Command.CACHE: TransmissionFlag.SEND_CACHE,
}


@case(
    groups="protocol blocksize quick",
    requires="nbd",
    basis=(
        "MUST: NBD, Block size constraints",
        "POLICY: refused-request-changes-nothing",
        "POLICY: clients-do-not-disturb-each-other",
    ),
)
def test(new_disk, target):
    disk = new_disk(**({"min_block": 4096} if "min_block" in target.capabilities else {}))
    with connected(disk) as io:
        minimum = io.block_sizes[0]
        kinds = [Command.READ, Command.WRITE]
        kinds += [kind for kind, flag in OFFERED.items() if io.offers(flag)]
    if minimum == 1:
        raise NotRun("the server has no minimum block above 1 byte")
    shapes = ((0, 1), (1, minimum), (minimum, minimum + 1), (minimum - 1, 2), (1, 8 * minimum))
    for kind in kinds:
        for offset, length in shapes:
            with connected(disk) as io:
                if kind in {Command.READ, Command.CACHE}:
                    error = errno_of(io.client, kind, offset, length)
                else:
                    error = io.attempt(kind, offset, length, exact=True)
                if error != CLOSED:
                    io.read(0, 16 * minimum)
            assert is_serving(disk), (
                f"a new client is not served after {kind.name} of {length} bytes at {offset}, with"
                f" a minimum block of {minimum} bytes"
            )
    disk.verify()

"""This case checks that a server that advertises FUA accepts it on every command, and that the flag
changes nothing else.

How: "the server MUST accept FUA on all commands": read, write, zeroes, trim, flush, cache, status.
Each has a place of its own, which is read before and after the request, with what is around it.
CACHE may fail with EINVAL, but must then fail without FUA too.
Guards: advertised-not-implemented, fua-read-writes.
Related: fua-lost-on-trim, zero-flags-lost.
"""

from errno import EINVAL

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_result
from qbdcheck.kit.nbd import Command, CommandFlag
from qbdcheck.kit.nbd_requests import describe

BLOCK = 4096
NEEDS = {
    Command.READ: "fua",
    Command.FLUSH: "flush",
    Command.TRIM: "discard",
    Command.WRITE_ZEROES: "write_zeroes",
    Command.CACHE: "cache",
    Command.BLOCK_STATUS: "block_status",
}


@case(groups="protocol flush quick", requires="nbd fua", basis="MUST: NBD, Command flags")
def test(disk, nbd_io, target):
    contexts = ("base:allocation",) if "block_status" in target.capabilities else ()
    with nbd_io(disk, contexts=contexts, structured="structured" in target.capabilities) as io:
        io.write(0, BLOCK, CommandFlag.FUA)
        for number, (command, needed) in enumerate(NEEDS.items()):
            if needed not in target.capabilities:
                continue
            length = 0 if command is Command.FLUSH else BLOCK
            place = (command, (3 * number + 1) * length, length)
            around = max(0, place[1] - BLOCK), 3 * BLOCK
            io.write(*around)
            error = io.attempt(*place, CommandFlag.FUA)
            if command is Command.CACHE and error == io.attempt(*place) == EINVAL:
                continue  # a server may have nothing to cache (NBD document, NBD_CMD_CACHE)
            expect_result(error, 0, describe(*place, CommandFlag.FUA))
            io.read(*around)
    disk.verify()

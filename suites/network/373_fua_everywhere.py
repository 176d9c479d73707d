"""This case checks that a server that advertises FUA accepts it on every command.

How: "the server MUST accept FUA on all commands": read, write, zeroes, trim, flush, cache, status.
CACHE may fail with EINVAL, but must then fail without FUA too.
Guards: advertised-not-implemented, fua-lost-on-trim, zero-flags-lost.
"""

from errno import EINVAL

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, CommandFlag
from qbdcheck.kit.nbd_requests import describe

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
        io.write(0, 4096, CommandFlag.FUA)
        for command, needed in NEEDS.items():
            if needed not in target.capabilities:
                continue
            length = 0 if command is Command.FLUSH else 4096
            place = (command, 3 * length, length)
            error = io.attempt(*place, CommandFlag.FUA)
            if command is Command.CACHE and error == io.attempt(*place) == EINVAL:
                continue  # a server may have nothing to cache (NBD document, NBD_CMD_CACHE)
            assert error == 0, f"{describe(*place, CommandFlag.FUA)}: errno {error}, expected 0"
    disk.verify()

"""This case checks that FUA is taken on every command where it is advertised.

How: "the server MUST accept FUA on all commands": read, write, zeroes, trim, flush, cache, status.
Guards: advertised-not-implemented, fua-lost-on-trim, zero-flags-lost.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, CommandFlag
from qbdcheck.kit.nbd_probe import outcome

NEEDS = {
    Command.READ: "fua",
    Command.FLUSH: "flush",
    Command.TRIM: "discard",
    Command.WRITE_ZEROES: "write_zeroes",
    Command.CACHE: "cache",
    Command.BLOCK_STATUS: "block_status",
}


@case(groups="protocol flush quick", requires="nbd fua")
def test(disk, nbd, target):
    with nbd(disk, contexts=("base:allocation",) if "block_status" in target.capabilities else (),
             structured="structured" in target.capabilities) as client:  # fmt: skip
        data = bytes(disk.shadow.stamped(0, 4096))
        client.write(0, data, CommandFlag.FUA)
        disk.shadow.write(0, data, fua=True)
        for command, needed in NEEDS.items():
            if needed not in target.capabilities:
                continue
            length = 0 if command is Command.FLUSH else 4096
            error = outcome(client, command, 3 * length, length, CommandFlag.FUA)
            assert error == 0, f"FUA on {command.name}: errno {error}"
            if command is Command.TRIM:
                disk.shadow.discard(3 * length, length)
            if command is Command.WRITE_ZEROES:
                disk.shadow.zero(3 * length, length)
    disk.verify()

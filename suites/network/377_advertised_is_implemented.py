"""This case checks that each command that is advertised works, and others have no effect.

How: each transmission flag of the export against the command that it stands for; what is not
advertised may fail or work, but must not report success without its effect.
Guards: advertised-not-implemented, flush-not-advertised, unadvertised-command-executed.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd import TransmissionFlag as Flag
from qbdcheck.kit.nbd_probe import enter, haggling, outcome, serves

COMMANDS = {
    Flag.SEND_FLUSH: (Command.FLUSH, 0, 0),
    Flag.SEND_TRIM: (Command.TRIM, 65536, 65536),
    Flag.SEND_WRITE_ZEROES: (Command.WRITE_ZEROES, 131072, 65536),
    Flag.SEND_CACHE: (Command.CACHE, 0, 65536),
}


@case(groups="protocol quick", requires="nbd")
def test(disk):
    for flag, (command, offset, length) in COMMANDS.items():
        with haggling(disk) as client:
            enter(client, disk)
            assert client.flags & Flag.HAS_FLAGS, "HAS_FLAGS is missing"
            offered = bool(client.flags & flag)
            error = outcome(client, command, offset, length)
            assert not (offered and error), f"{command.name} is advertised, errno {error}"
            if not error and command is Command.TRIM:
                disk.shadow.discard(offset, length)
            if not error and command is Command.WRITE_ZEROES:
                disk.shadow.zero(offset, length)
    assert serves(disk)
    disk.verify()

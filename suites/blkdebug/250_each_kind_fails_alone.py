"""This case checks that an error of one kind of request fails only that kind, and changes nothing.

How: for each iotype, blkdebug above the volume fails just that kind, each time with another errno.
The failed requests bypass the shadow, so any change that they make is a mismatch.
Related: async-error-ignored, errno-collapsed, error-kills-connection.
"""

from errno import EINVAL, EIO, ENOMEM, ENOSPC, EPERM

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.expectations import expect_errno

COMMANDS = {
    "read": ("read 1M 64k", EIO),
    "write": ("write -P 0x66 2M 64k", ENOSPC),
    "write-zeroes": ("write -z 3M 64k", ENOMEM),
    "discard": ("discard 4M 64k", EINVAL),
}


@case(groups="inject errors quick", basis="MUST: QAPI, BlockdevOptionsBlkdebug")
def test(disk, qemu_io):
    for kind, (_, number) in COMMANDS.items():
        faulty = blkdebug(disk.protocol_blockdev(), error(number=number, iotype=kind))
        with qemu_io(json_filename(faulty), shadow=disk.shadow) as io:
            for other, (command, _) in COMMANDS.items():
                if other == kind:
                    expect_errno(io, command, number)
                    expect_errno(io, command, number)
                elif other == "read":
                    io.read(1 << 20, 64 << 10)
                elif other == "write":
                    io.write(5 << 20, 1000)
        disk.verify()
    everything = blkdebug(disk.protocol_blockdev(), error(number=EPERM))
    with qemu_io(json_filename(everything), shadow=disk.shadow) as io:
        for command, _ in COMMANDS.values():
            expect_errno(io, command, EPERM)
    disk.verify()

"""This case checks that a client that can only use EXPORT_NAME gets the same volume as QEMU.

How: the handshake of the oldest clients. Its size and flags must be those that GO reports, and data
must be written and read.
Guards: handshake-length-off, size-change-across-reconnect.
Related: size-rounded-down.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.nbd_probe import oldest_refused


@case(
    groups="names protocol quick",
    requires="nbd",
    basis=("MUST: NBD, NBD_OPT_EXPORT_NAME", "MUST: NBD, NBD_CMD_READ"),
)
def test(disk, nbd, nbd_io):
    if reason := oldest_refused(disk):
        raise NotRun(reason)
    with nbd(disk) as modern:
        size, flags = modern.size, modern.flags
    for number in range(2):
        with nbd_io(disk, export_name=True) as io:
            expect_equal(io.client.size, size, "the size by EXPORT_NAME")
            seen = io.client.flags
            wrong = f"EXPORT_NAME: expected the flags {int(flags):#x}, got {int(seen):#x}"
            assert seen & 0b111 == flags & 0b111, wrong
            io.write(number << 20, 4096)
            io.read(number << 20, 4096)
    disk.verify()

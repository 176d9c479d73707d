"""This case checks that a write refused for its alignment changes nothing and is skipped whole.

How: a minimum block of 4 KiB; unaligned writes whose payload is a valid request. The next requests
on the same connection must be answered correctly.
Guards: payload-not-drained.
Related: min-block-underadvertised.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import REQUEST_MAGIC, Command
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import CLOSED, connected


@case(
    groups="protocol blocksize",
    requires="nbd min_block",
    basis=("SHOULD: NBD, Block size constraints", "POLICY: refused-request-changes-nothing"),
)
def test(new_disk):
    disk = new_disk("1M", min_block=4096)
    payload = (m.REQUEST.pack(REQUEST_MAGIC, 0, Command.WRITE, 9, 0, 4096) + bytes(4096)) * 3
    for offset, length in ((1, 512), (512, 4096), (4096, 28), (0, 4124), (4095, 8192)):
        with connected(disk) as io:
            if (
                io.attempt(Command.WRITE, offset, length, data=payload[:length], exact=True)
                != CLOSED
            ):
                io.read(8192, 4096)
    disk.verify()

"""This case checks that a request with flags it does not have is refused, or done completely.

How: the server offers no flag that the NBD document lacks (bit 9 belongs to an extension). Then
each flag that no command has, on writes and reads. After success the change must be there, after an
error nothing of it, and the connection must still work.
Guards: capability-bit-collision.
Related: payload-not-drained, zero-flags-lost.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_probe import CLOSED, connected, errno_of, is_serving

OFFERED = 0x1DFF
"""NBD document, "Transmission flags": bits 0 to 8, 10, 11 and 12."""


@case(
    groups="protocol quick",
    requires="nbd",
    basis=(
        "SHOULD: NBD, Command flags",
        "POLICY: refused-request-changes-nothing",
        "POLICY: known-transmission-flags",
    ),
)
def test(disk, policy):
    bits = [1 << bit for bit in range(6, 16)] + [0xFFC0]
    requests = [(number * 4096, flags) for number, flags in enumerate(bits)]
    while requests:
        with connected(disk) as io:
            flags = int(io.client.flags)
            with policy("known-transmission-flags"):
                assert not flags & ~OFFERED, (
                    f"the server sets transmission flags {flags & ~OFFERED:#x}, which the NBD"
                    f" document lacks (all flags: {flags:#x})"
                )
            ended = False
            while requests and not ended:
                offset, flags = requests.pop()
                ended = io.attempt(Command.WRITE, offset, 4096, flags) == CLOSED
                ended = ended or errno_of(io.client, Command.READ, offset, 4096, flags) == CLOSED
                if not ended:
                    io.read(offset, 4096)
    assert is_serving(disk), "a new client is not served after unknown flags"
    disk.verify()

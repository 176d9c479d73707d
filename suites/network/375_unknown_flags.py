"""This case checks that a request with flags that do not belong to it is refused, or done in full.

How: the server offers no bit that the document does not have (bit 9 is an extension's); then every
bit that it does not give to a command; after success the effect must be there, after an error
nothing of it, and the stream stays in step.
Guards: capability-bit-collision, payload-not-drained, zero-flags-lost.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_probe import CLOSED, enter, haggling, outcome, serves

OFFERED = 0x1DFF
"""NBD document, "Transmission flags": bits 0 to 8, 10, 11 and 12."""


@case(groups="protocol quick", requires="nbd")
def test(disk):
    with haggling(disk) as client:
        enter(client, disk)
        assert not client.flags & ~OFFERED, f"flags {client.flags:#x}"
    bits = [1 << bit for bit in range(6, 16)] + [0xFFC0]
    client = None
    for number, flags in enumerate(bits):
        offset = number * 4096
        if client is None:
            ends = haggling(disk)
            client = ends.__enter__()
            enter(client, disk)
        data = bytes(disk.shadow.stamped(offset, 4096))
        error = outcome(client, Command.WRITE, offset, 4096, flags, data)
        if error == 0:
            disk.shadow.write(offset, data)
        if error != CLOSED:
            error = outcome(client, Command.READ, offset, 4096, flags)
        if error == CLOSED:
            ends.__exit__(None, None, None)
            client = None
            continue
        assert bytes(client.read(offset, 4096)) == disk.shadow.expected(offset, 4096)
    if client is not None:
        ends.__exit__(None, None, None)
    assert serves(disk)
    disk.verify()

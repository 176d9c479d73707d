"""This case checks that a target that offers no flush loses no acknowledged write in a power cut.

How: writes are acknowledged, then the power is cut. A target either makes each acknowledged write
durable or offers FLUSH. If the handshake offers FLUSH, one is sent before the cut. Every write must
be there.
Guards: flush-not-advertised, flush-noop.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_requests import block_sizes, is_offered, widened, write_stamped


@case(groups="flush crash protocol quick", requires="nbd crash")
def test(new_disk, nbd, seed, log):
    disk = new_disk("1M")
    for round_ in range(6):
        client = nbd(disk)
        minimum = block_sizes(client).minimum
        for number in range(6):
            offset, length = widened(number * 150_000 + round_ * 512, 9000, minimum)
            write_stamped(client, disk.shadow, offset, length)
        if is_offered(client, Command.FLUSH):
            log("the target offers FLUSH")
            client.flush()
        disk.shadow.flush()
        disk.backend.crash(seed=seed + round_)
        disk.verify()

"""This case checks that a target that offers no flush loses no acknowledged write in a power cut.

How: writes are acknowledged, then the power is cut. A target either makes each acknowledged write
durable or offers FLUSH. If the handshake offers FLUSH, one is sent before the cut. Every write must
be there.
Guards: flush-not-advertised, flush-noop.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import TransmissionFlag
from qbdcheck.kit.nbd_requests import widened
from qbdcheck.kit.server_ends import cut, rounds


@case(
    groups="flush crash protocol quick",
    requires="nbd sudden_end",
    basis="POLICY: no-flush-means-no-cache",
)
def test(new_disk, nbd_io, seed, log):
    disk = new_disk("1M")
    for round_ in rounds(6):
        io = nbd_io(disk)
        minimum = io.block_sizes[0]
        for number in range(6):
            io.write(*widened(number * 150_000 + round_ * 512, 9000, minimum))
        if io.offers(TransmissionFlag.SEND_FLUSH):
            log("the target offers FLUSH")
            io.flush()
        else:
            disk.shadow.durable("by a server without FLUSH")
        cut(disk, seed + round_)
        disk.verify()

"""This case checks that a target which offers no flush loses nothing that it has acknowledged.

How: a target either makes all it acknowledges durable or offers flush, so that clients can: where
the handshake offers none, writes are answered, power fails, and every one must be there.
Guards: flush-not-advertised, flush-noop.
"""

from qbdcheck.kit import case


@case(groups="flush crash protocol quick", requires="nbd crash")
def test(new_disk, nbd_io, target, seed, log):
    disk = new_disk("1M")
    if "flush" in target.capabilities:
        log("the target offers flush")
    for round_ in range(6):
        io = nbd_io(disk)
        for number in range(6):
            offset = number * 150_000 + round_ * 512
            io.write(offset, 9000)
        io.flush()
        disk.shadow.flush()  # durable also where there is no FLUSH
        disk.backend.crash(seed=seed + round_)
        disk.verify()

"""This case checks that a target which offers no flush loses nothing that it has acknowledged.

How: a target either makes all it acknowledges durable or offers flush, so that clients can: where
the handshake offers none, writes are answered, power fails, and every one must be there.
Guards: flush-not-advertised, flush-noop.
"""

from qbdcheck.kit import case


@case(groups="flush crash protocol quick", requires="nbd crash")
def test(new_disk, nbd, target, seed, log):
    disk = new_disk("1M")
    if "flush" in target.capabilities:
        log("the target offers flush")
    for round_ in range(6):
        client = nbd(disk)
        for number in range(6):
            offset = number * 150_000 + round_ * 512
            data = disk.shadow.stamped(offset, 9000)
            client.write(offset, data)
            disk.shadow.write(offset, data)
        if "flush" in target.capabilities:
            client.flush()
        disk.shadow.flush()
        disk.backend.crash(seed=seed + round_)
        disk.verify()

"""This case checks that each of thousands of resizes is done, and adds zeroes.

How: a volume grows; a new client reads the new space, writes to old and new space and reads both;
the volume shrinks again. New space must be zeroes, old space as it was written.
Guards: resize-false-success, grow-exposes-old-data, late-request-after-quiesce,
resize-not-notified.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_bytes

MIB, MORE, ROUNDS, BLOCK = 1 << 20, 32 << 10, 1000, 4096


@case(
    groups="model size slow",
    requires="raw_requests resize",
    limit_s=400,
    basis=("POLICY: new-size-is-seen", "POLICY: grown-part-reads-zero"),
)
def test(new_disk, nbd_io, seed):
    disk = new_disk("1M")
    random = seed.stream("places")
    for number in range(ROUNDS):
        disk.resize(MIB + MORE)
        with nbd_io(disk) as io:
            expect_bytes(io.client.size, disk.size, f"resize {number}")
            io.read(MIB, MORE)
            for start in (BLOCK * random.randrange(MIB // BLOCK), MIB + MORE - BLOCK):
                io.write(start, BLOCK)
                io.read(start, BLOCK)
        disk.resize(MIB)
    disk.verify()

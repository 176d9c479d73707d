"""This case checks that in cache mode writethrough each answered write survives a power cut.

How: QEMU flushes after each write (or sends FUA), so nothing that the guest knows to be written is
lost. Only an unanswered write may be missing.
Guards: flush-noop, fua-write-ack-early, flush-not-advertised.
"""

from qbdcheck.kit import case
from qbdcheck.kit.server_ends import cut


@case(
    groups="rw flush crash",
    requires="flush write_zeroes sudden_end",
    basis=(
        "MUST: NBD, NBD_CMD_FLUSH",
        "MUST: NBD, Command flags",
        "POLICY: sector-writes-are-atomic",
    ),
)
def test(new_disk, qemu_io, seed):
    disk = new_disk("1M")
    random = seed.stream("places")
    for round_, cache in enumerate(("writethrough", "directsync", "writethrough", "writethrough")):
        io = qemu_io(disk, cache=cache)
        for _ in range(12):
            length = random.choice((512, 4096, 30_720))
            offset = random.randrange(0, disk.size - length) & -512
            if random.random() < 0.2:
                io.write_zeroes(offset, length)
            else:
                io.write(offset, length)
        cut(disk, seed + round_)
        io.abandon()
        open_ = disk.shadow.ambiguous()
        assert open_ == [], f"sectors {open_} have more than one permitted content"
        disk.verify()

"""This case checks that a discard through the driver changes no byte outside of its range.

How: discards that start and end at odd bytes, between stamps; and lengths around 4 KiB and 64 KiB.
Guards: discard-overreach.
"""

from qbdcheck.kit import case

RANGES = ((512, 512), (4096 - 512, 1024), (8192 + 512, 4096), (20_480, 4096 + 512),
          (65_536, 65_024), (200_192, 131_072), (400_000, 1000), (401_001, 4099),
          (500_001, 65_537))  # fmt: skip


@case(
    groups="rw discard", requires="own_driver discard", limit_s=30, basis="MUST: NBD, NBD_CMD_TRIM"
)
def test(disk, qemu_io):
    with qemu_io(disk) as io:
        for offset, length in RANGES:
            io.discard(offset, length)
            io.read(max(0, offset - 8192), length + 16_384)
    disk.verify()

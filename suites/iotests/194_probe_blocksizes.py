"""This case checks that the reference driver reports logical and physical block sizes as QEMU asks.

How: volumes with several block sizes are opened in process through the callback table, by name, and
with sizes given in the name.
Related: config-byteswapped, min-block-underadvertised.
"""

from qbdcheck.kit import case
from qbdcheck.kit.reference import MemoryPool, QbdDriver, VolumeOptions

NAMES = ("qbd:pool/volume", "qbd:pool/volume:logical_block_size=4096:physical_block_size=16384")


@case(
    groups="blocksize quick",
    basis=("MUST: QAPI, BlockdevOptionsNbd", "MUST: NBD, Block size constraints"),
)
def test(golden):
    for minimum, preferred in ((1, 4096), (512, 4096), (4096, 65536)):
        pool = MemoryPool(VolumeOptions(block_sizes=(minimum, preferred, 1 << 20)))
        pool.create("pool/volume", 1 << 20)
        for name in NAMES:
            driver = QbdDriver(pool)
            driver.file_open(driver.parse_filename(name))
            sizes = driver.probe_blocksizes()
            golden(f"minimum {minimum}, preferred {preferred}, {name}")
            golden(f"  logical {sizes.logical}, physical {sizes.physical}")
            driver.close()

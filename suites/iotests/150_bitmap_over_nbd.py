"""This case checks that a dirty bitmap exported over NBD names all that was written, and no more.

How: bitmaps of 4 KiB and 64 KiB on one disk are exported as qemu:dirty-bitmap contexts. nbdinfo's
map of each must cover what was written, zeroed and discarded, rounded to its granularity, and
nothing else.
Related: incremental-misses-hole, discard-not-tracked, extents-unsorted.
"""

import json

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal

WRITES = ((100, 1), (65535, 2), (1 << 20, 4096), ((2 << 20) + 4095, 2), ((8 << 20) - 1, 1))


def dirty(run, uri, name, size):
    """Return the numbers of the 4 KiB blocks that the export reports as dirty."""
    done = run(["nbdinfo", "--json", f"--map=qemu:dirty-bitmap:{name}", uri])
    extents = json.loads(done.stdout)
    expect_equal(
        sum(extent["length"] for extent in extents), size, f"{name}: the sum of the extents"
    )
    return {
        block
        for extent in extents
        if extent["type"] == 1
        for block in range(extent["offset"] >> 12, (extent["offset"] + extent["length"]) >> 12)
    }


def rounded(ranges, granularity):
    """Return the 4 KiB blocks of all granules that the ranges overlap."""
    granules = {
        granule
        for start, length in ranges
        for granule in range(start // granularity, (start + length - 1) // granularity + 1)
    }
    per = granularity >> 12
    return {block for granule in granules for block in range(granule * per, (granule + 1) * per)}


@case(groups="bitmap export status quick", programs="nbdinfo", basis="MUST: QEMU, interop/nbd")
def test(disk, qemu_io, storage_daemon, run):
    with storage_daemon() as qsd:
        qsd.add(disk.blockdev("source", discard="unmap"))
        for name, granularity in (("fine", 4096), ("coarse", 65536)):
            qsd.qmp("block-dirty-bitmap-add", node="source", name=name, granularity=granularity)
        with qemu_io(qsd.export("source"), shadow=disk.shadow) as io:
            for offset, length in WRITES:
                io.write(offset, length)
            io.write_zeroes(5 << 20, 64 << 10)
            io.discard(6 << 20, 64 << 10)
        written = (*WRITES, (5 << 20, 64 << 10), (6 << 20, 64 << 10))
        # An exported bitmap must not change.
        for name in ("fine", "coarse"):
            qsd.qmp("block-dirty-bitmap-disable", node="source", name=name)
        uri = qsd.export("source", "bitmaps", bitmaps=["fine", "coarse"])
        fine, coarse = dirty(run, uri, "fine", disk.size), dirty(run, uri, "coarse", disk.size)
    assert fine == rounded(written, 4096), (
        f"fine: wrong 4 KiB blocks {sorted(fine ^ rounded(written, 4096))}"
    )
    assert coarse == rounded(written, 65536), (
        f"coarse: wrong 4 KiB blocks {sorted(coarse ^ rounded(written, 65536))}"
    )
    disk.verify()

"""This case checks that reads of any shape return the right blocks of snapshots and clones.

How: a volume with written, rewritten and never written pages, two snapshots of it and a clone. Each
is read at offsets and lengths just before, at and just behind the edges of pages, 64 KiB clusters
and MiB, within one block and across several; then by vectors of uneven buffers.
Guards: snapshot-read-across-pages, clone-read-across-hole, alloc-map-rounding-reads-zero.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content
from qbdcheck.kit.nbd_requests import widened

KIB = 1 << 10
SIZE = 2304 * KIB
WRITTEN = ((0, 700), (1100, 400), *((at, 4) for at in range(1600, 1700, 8)), (1900, 68))
REWRITTEN = ((8, 4), (60, 8), (500, 300), (1024, 4), (1088, 20), (1612, 4), (1964, 64))
EDGES = (4, 12, 64, 128, 700, 800, 1024, 1088, 1100, 1500, 1536, 1612, 1652, 1900, 1964, 2048)
"""Edges of pages, clusters and MiB, and between what was written and what was not, in KiB."""
STEPS = (-4097, -4096, -1024, -513, -512, -1, 0, 1, 511, 512, 2048, 4095)
LENGTHS = (1, 512, 1024, 4096, 4608, 8192, 12 * KIB + 1, 64 * KIB, 68 * KIB + 512)
SHAPES = ([512, 512], [1, 511, 512, 4096, 3, 509], [100] * 50, [65536, 1, 65535])


@case(
    groups="rw snapshot quick",
    requires="raw_requests snapshot_read",
    basis="MUST: NBD, NBD_CMD_READ",
)
def test(new_disk, nbd_io, qemu_io, target, seed):
    disk = new_disk(SIZE, prefill=False)
    fill(disk, nbd_io, WRITTEN)
    older = disk.snapshot("older")
    fill(disk, nbd_io, REWRITTEN)
    newer = disk.snapshot("newer")
    fill(disk, nbd_io, WRITTEN[4:8])
    volumes = [older, newer, disk]
    if "clone" in target.capabilities:
        clone = older.clone("clone")
        volumes.append(clone)
        fill(clone, nbd_io, REWRITTEN[::2])
    random = seed.stream("shapes")
    shapes = [(max(edge * KIB + step, 0), length)
              for edge in EDGES for step in STEPS for length in LENGTHS]  # fmt: skip
    for volume in volumes:
        with nbd_io(volume) as io:
            minimum = io.block_sizes[0]
            for offset, length in random.sample(shapes, 160):
                io.read(*widened(offset, min(length, SIZE - offset), minimum))
        with qemu_io(volume, read_only=True) as io:
            for edge in random.sample(EDGES, 4):
                for lengths in SHAPES:
                    offset, total = edge * KIB - 512, sum(lengths)
                    report = io.request(f"readv -v {offset} {' '.join(map(str, lengths))}")
                    what = f"readv of {total} bytes at {offset} of {volume.name}"
                    expect_content(volume.shadow, offset, report.data, what, total)
        volume.verify()


def fill(disk, nbd_io, places):
    with nbd_io(disk) as io:
        for at, length in places:
            io.write(at * KIB, length * KIB)

"""This case checks that many snapshots, clones of clones and sizes of all ages stay what they were.

How: a volume of an odd size grows, shrinks and grows while 34 snapshots are taken of it, with data,
zeroes over data, and data over zeroes between them. Each snapshot keeps its size and contents. What
is written behind an old end is read at once. Snapshots whose zeroes others share are removed. A
clone of a clone has what each generation changed, and zeroes in it stay zeroes.
Guards: snapshot-index-wraps, snapshot-size-follows-volume, snapshot-merge-drops-zeroes,
grandchild-reads-grandparent, zeroes-in-clone-show-parent, write-after-truncate-reads-hole,
grow-zeroes-part-block, grow-exposes-old-data.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_bytes
from qbdcheck.kit.nbd_io import minimum_block

KIB, MIB, COUNT = 1 << 10, 1 << 20, 34


@case(
    groups="snapshot size quick",
    requires="raw_requests snapshot_read snapshot_remove clone resize write_zeroes",
    basis=(
        "POLICY: snapshot-is-one-moment",
        "POLICY: clone-is-independent",
        "MUST: NBD, NBD_CMD_READ",
    ),
)
def test(new_disk, nbd_io, seed):
    random = seed.stream("sizes")
    odd = max(512, minimum_block(new_disk("64K")))
    disk = new_disk(MIB + odd)
    taken = []
    for number in range(COUNT):
        if number % 3 == 0:
            disk.resize(random.randrange(MIB // odd, 3 * MIB // 2 // odd) * odd)
        with nbd_io(disk) as io:
            change(io, random, disk.size)
        taken.append(disk.snapshot(f"s{number}"))
    disk.resize(MIB // odd * odd)  # smaller than most snapshots, whatever the seed
    check(nbd_io, [disk, *taken])
    for one in random.sample(taken, COUNT * 2 // 3):
        taken.remove(one)
        one.remove()
    child = taken[-1].clone("child")
    with nbd_io(child) as io:
        change(io, random, child.size)
        io.write_zeroes(0, min(MIB, child.size))
    grandchild = child.snapshot("middle").clone("grandchild")
    with nbd_io(grandchild) as io:
        io.write(0, 4096)
        io.write_zeroes(0, min(MIB, child.size))
        io.read(0, child.size)
        change(io, random, child.size)
    check(nbd_io, [disk, child, grandchild, *taken])


def change(io, random, size):
    """Write and zero a few ranges, one of them at the end; read them."""
    for place in (*(random.randrange(0, size - 96 * KIB, 4096) for _ in range(3)), size - 8192):
        unit = place - place % max(512, io.block_sizes[0])
        if random.random() < 0.5:
            io.write(unit, 8192)
        else:
            io.write_zeroes(
                unit, random.choice((4096, 8192, 64 * KIB)) if unit < size // 2 else 4096
            )
    io.read(0, size)


def check(nbd_io, volumes):
    for one in volumes:
        with nbd_io(one) as io:
            expect_bytes(io.client.size, one.size, one.name)
            io.read(0, one.size)

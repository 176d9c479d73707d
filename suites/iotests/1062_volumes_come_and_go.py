"""This case checks that a removed volume takes nothing along, and leaves nothing behind.

How: a volume, a snapshot and several clones of it, each changed by requests that have to do with
each other; then a clone is removed, and made again under its name. A volume beside them is filled,
removed and made again, smaller or larger: it must be empty, and keep what it gets then. After each
step all others are read, and at the end after half a second: what was removed may go later.
Guards: clone-removal-frees-parent, recreated-volume-shows-old, sibling-clones-share-copy,
cow-run-joined, recycled-name-loses-objects.
"""

from qbdcheck.kit import case, pause
from qbdcheck.kit.block_status import zero_reads_as_zero
from qbdcheck.kit.nbd_io import minimum_block
from qbdcheck.kit.related_requests import RelatedRequests
from qbdcheck.kit.volume_limits import size_unit

KIB, MIB, ROUNDS, LATER_S = 1 << 10, 1 << 20, 4, 0.5
WINDOW, WINDOWS = 192 * KIB, (0, 960 * KIB, 2 * MIB)


@case(
    groups="snapshot size quick",
    requires="raw_requests snapshot_read clone add_volume volume_remove",
    basis=("POLICY: clone-is-independent", "POLICY: fresh-volume-reads-zero"),
)
def test(new_disk, nbd_io, target, seed):
    random = seed.stream("volumes")
    unit = max(size_unit(target), minimum_block(new_disk("64K")))
    disk = new_disk(2304 * KIB // unit * unit)
    change(disk, nbd_io, random)
    snapshot = disk.snapshot("origin")
    clones = {name: snapshot.clone(name) for name in ("one", "two", "three")}
    extra = new_disk(MIB, beside=disk, name="extra", prefill=False)
    for round_ in range(ROUNDS):
        changed = random.choice([disk, *clones.values()])
        change(changed, nbd_io, random)
        read([disk, snapshot, *clones.values()], nbd_io)
        name = random.choice(list(clones))
        clones.pop(name).remove()
        read([disk, snapshot, *clones.values()], nbd_io)
        change(extra, nbd_io, random, everywhere=True)
        extra.remove()
        extra = new_disk(random.choice((MIB, 3 * MIB)), beside=disk, name="extra", prefill=False)
        read([extra], nbd_io)
        change(extra, nbd_io, random, everywhere=True)
        if round_ != 2:
            clones[name] = snapshot.clone(name)
            with nbd_io(clones[name]) as io:
                io.write(0, 4096)  # the first part is its own, the rest is inherited
        read([disk, snapshot, extra, *clones.values()], nbd_io)
    pause(LATER_S)
    read([disk, snapshot, extra, *clones.values()], nbd_io)


def change(disk, nbd_io, random, everywhere=False):
    with nbd_io(disk) as io:
        related = RelatedRequests(random, WINDOW, io)
        fitting = [start for start in WINDOWS if start + WINDOW <= disk.size]
        bases = random.sample(fitting, random.choice((1, 1, len(fitting))))
        for number in range(8):
            base = fitting[number % len(fitting)] if everywhere else random.choice(bases)
            related.change(io, base)
        if everywhere:
            io.write(0, 4096)


def read(disks, nbd_io):
    for one in disks:
        with nbd_io(one) as io:
            io.read(0, one.size)
            zero_reads_as_zero(io, 0, one.size)

"""This case checks that volumes, snapshots and clones stay apart, whichever is removed or changed.

How: two volumes of one server get snapshots of the same name, directly after a change and twice
without one between. A clone is made; its snapshot is removed, or stays. Then the volumes, then the
clones are changed by requests that have to do with each other. Everything is read after each step,
and what block status calls zero must be zero.
The changes are at the beginning and around 1 MiB; the sizes are no multiples of 64 KiB.
Guards: removal-unshares-clone, snapshot-names-shared, clone-status-ignores-parent,
status-top-layer-only.
"""

from qbdcheck.kit import case
from qbdcheck.kit.block_status import zero_reads_as_zero
from qbdcheck.kit.nbd_io import minimum_block
from qbdcheck.kit.related_requests import RelatedRequests
from qbdcheck.kit.volume_limits import size_unit

KIB, ROUNDS = 1 << 10, 4
WINDOW, WINDOWS = 192 * KIB, (0, 960 * KIB)


@case(
    groups="snapshot quick",
    requires="raw_requests snapshot_read snapshot_remove clone",
    basis=("POLICY: snapshot-is-one-moment", "POLICY: clone-is-independent"),
)
def test(new_disk, nbd_io, target, seed):
    random = seed.stream("tree")
    unit = max(size_unit(target), minimum_block(new_disk("64K")))
    size = 1152 * KIB // unit * unit + unit
    volumes = [new_disk(size)]
    if "add_volume" in target.capabilities:
        volumes.append(new_disk(size, beside=volumes[0]))
    clones, kept = [], []
    for round_ in range(ROUNDS):
        change(volumes, nbd_io, random)
        taken = [*kept, *(one.snapshot(f"same{round_}") for one in volumes)]
        if round_ % 2:
            taken.append(volumes[0].snapshot(f"more{round_}"))
        read([*volumes, *taken, *clones], nbd_io)
        source = taken.pop(len(kept) + (round_ + 1) % len(volumes))
        clones = [*clones[-1:], source.clone(f"clone{round_}")]
        if round_ % 3 < 2:
            source.remove()
        else:
            taken.append(source)
        for changed in (volumes, clones):
            change(changed, nbd_io, random)
            read([*volumes, *taken, *clones], nbd_io)
        kept = taken[-3:]
        for one in taken[:-3]:
            one.remove()


def change(volumes, nbd_io, random):
    for one in volumes:
        with nbd_io(one) as io:
            related = RelatedRequests(random, WINDOW, io)
            for _ in range(16):
                related.change(io, random.choice(WINDOWS))


def read(volumes, nbd_io):
    for one in volumes:
        with nbd_io(one) as io:
            for start in WINDOWS:
                io.read(start, min(WINDOW, one.size - start))
            zero_reads_as_zero(io, 0, one.size)

"""This case checks that change tracking forgets no change: many, asked twice, before a resize.

How: after a snapshot, 200 separate writes that start and end inside granules, in random order. All
changed sectors are dirty, also when they are asked about again, from another connection, in parts,
after a clone was made, after a snapshot of another volume, and after the volume has grown.
Guards: checkpoint-clears-others, dirty-ranges-dropped, dirty-end-rounded-down,
dirty-cleared-by-asking, tracking-lost-on-resize, dirty-slice-starts-clean.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.block_status import expect_status, follow, part
from qbdcheck.kit.nbd_requests import widened
from qbdcheck.kit.volume_limits import size_unit

KIB, SIZE, COUNT = 1 << 10, 8 << 20, 200
CONTEXT = "qbd:dirty"


@case(
    groups="bitmap protocol size quick",
    requires="nbd snapshot structured resize",
    basis="POLICY: dirty-bitmap-covers-all-changes",
)
def test(new_disk, nbd_io, target, seed):
    disk = new_disk(SIZE + size_unit(target))
    random = seed.stream("places")
    first = disk.snapshot("first") if "clone" in target.capabilities else None
    if first is None:
        disk.backend.snapshot("first")
    with nbd_io(disk, contexts=(CONTEXT,)) as io, nbd_io(disk, contexts=(CONTEXT,)) as other:
        if not io.client.contexts:
            raise NotRun(f"the target has no context {CONTEXT}")
        minimum = io.block_sizes[0]
        written = []
        for number in random.sample(range(COUNT), COUNT):
            place = number * 40 * KIB + 512 * random.randrange(8), random.choice((512, 4096, 9000))
            written.append(widened(*place, minimum))
            io.write(*written[-1])
        written.append((disk.size - size_unit(target), size_unit(target)))
        io.write(*written[-1])
        whole = must_be_dirty(io, written, "after the writes")
        expect_status(must_be_dirty(other, written, "asked again"), whole, CONTEXT)
        for _ in range(60):
            start, length = widened(random.randrange(SIZE - 9000), 9000, minimum)
            seen = follow(io.client, start, start + length)[CONTEXT]
            expect_status(seen, part(whole, start, start + length), f"{CONTEXT} at {start}")
        must_be_dirty(io, written, "asked for the third time")
        if first is not None:
            first.clone("child")
            must_be_dirty(io, written, "after a clone of the snapshot was made")
        if "add_volume" in target.capabilities:
            change_another(new_disk("1M", beside=disk), nbd_io)
            must_be_dirty(io, written, "after a snapshot of another volume")
        disk.resize(disk.size + 1024 * KIB)
    with nbd_io(disk, contexts=(CONTEXT,)) as io:
        must_be_dirty(io, written, "after the volume has grown")
    disk.verify()


def change_another(disk, nbd_io):
    """Change a volume before and after a snapshot of it; what came after is dirty, no more."""
    with nbd_io(disk, contexts=(CONTEXT,)) as io:
        io.write(0, 64 * KIB)
        disk.backend.snapshot("other")
        io.write(512 * KIB, 64 * KIB)
        whole = follow(io.client, 0, disk.size)[CONTEXT]
        for start, end, flags in whole:
            is_changed = start < 576 * KIB and end > 512 * KIB
            assert bool(flags & 1) == is_changed, (
                f"{CONTEXT} of another volume: [{start}, {end}) has flags {flags},"
                f" only {64 * KIB} bytes at {512 * KIB} changed"
            )


def must_be_dirty(io, written, when):
    """Check that all that was written is dirty; return the map."""
    whole = follow(io.client, 0, max(start + length for start, length in written))[CONTEXT]
    for start, length in written:
        for first, end, flags in part(whole, start, start + length):
            assert flags & 1, f"{CONTEXT} {when}: [{first}, {end}) changed, but is clean"
    return whole

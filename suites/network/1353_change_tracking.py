"""This case checks that change tracking calls no changed byte clean, whatever shares its granule.

How: after a snapshot, writes, zeroes and discards hit the same granules in random orders, from two
connections. Then, and after a second snapshot, and while writes are in flight: no changed sector is
clean; what is far from each change is not dirty; the status of each part equals that part of the
whole, also on another connection.
Guards: dirty-cleared-by-zero, dirty-slice-starts-clean, discard-not-tracked,
incremental-misses-hole.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.block_status import expect_status, follow, part
from qbdcheck.kit.nbd import Command, CommandFlag, TransmissionFlag
from qbdcheck.kit.nbd_requests import widened

KIB, SIZE, FAR = 1 << 10, 2 << 20, 128 << 10
TRACKING = ("qbd:dirty", "qemu:dirty-bitmap")


@case(
    groups="bitmap discard zero protocol quick",
    requires="nbd snapshot structured",
    basis="POLICY: dirty-bitmap-covers-all-changes",
)
def test(new_disk, nbd_io, seed):
    disk = new_disk(SIZE)
    random = seed.stream("changes")
    disk.backend.snapshot("first")
    with nbd_io(disk, contexts=TRACKING[:1]) as io, nbd_io(disk, contexts=TRACKING[:1]) as other:
        if not io.client.contexts:
            raise NotRun(f"the target has no context {TRACKING[0]}")
        for round_ in range(3):
            before = io.read(0, SIZE)
            touched = set()
            for _ in range(40):
                touched |= change(random.choice((io, other)), random)
            cookies = [
                io.send(Command.WRITE, 1536 * KIB + number * 8 * KIB, 4096) for number in range(16)
            ]
            whole = dirty(other, 0, SIZE)
            for cookie in cookies:
                io.finish(cookie)
            touched |= set(range(1536 * 2, 1664 * 2))
            must_be_dirty(whole, before, other.read(0, 1536 * KIB), "while writes are in flight")
            whole = dirty(io, 0, SIZE)
            must_be_dirty(whole, before, io.read(0, SIZE), "at rest")
            for start, end, flags in whole:
                sectors = range((start - FAR) // 512, (end + FAR) // 512)
                alone = f"qbd:dirty: [{start}, {end}) is dirty, and nothing near it changed"
                assert not flags or touched.intersection(sectors), alone
            for _ in range(20):
                place = random.randrange(SIZE - 9000), random.choice((1, 512, 9000))
                start, length = widened(*place, io.block_sizes[0])
                seen = dirty(random.choice((io, other)), start, start + length)
                what = f"qbd:dirty of {length} bytes at {start}"
                expect_status(seen, part(whole, start, start + length), what)
            if round_ % 2:
                disk.backend.snapshot(f"more{round_}")
                expect_status(dirty(io, 0, SIZE), [(0, SIZE, 0)], "qbd:dirty after a snapshot")
                disk.shadow.settle(0, io.read(0, SIZE))
            else:
                disk.shadow.settle(0, io.read(0, SIZE))
                disk.backend.snapshot(f"more{round_}")


def dirty(io, start, end):
    return follow(io.client, start, end)[TRACKING[0]]


def change(io, random):
    """Change parts of one of a few granules; return the sectors that may have changed."""
    at = random.randrange(12) * 100 * KIB + random.randrange(0, 8192, 512)
    at, length = widened(at, random.choice((512, 1024, 4096, 12 * KIB)), io.block_sizes[0])
    flags = CommandFlag.FUA if random.random() < 0.2 else 0
    kinds = [lambda: io.write(at, length, flags)]
    if io.offers(TransmissionFlag.SEND_WRITE_ZEROES):
        kinds.append(lambda: io.write_zeroes(at, length, random.choice((0, CommandFlag.NO_HOLE))))
    if io.offers(TransmissionFlag.SEND_TRIM):
        kinds.append(lambda: io.discard(at, length, flags))
    random.choice(kinds)()
    return set(range(at // 512, -(-(at + length) // 512)))


def must_be_dirty(whole, before, after, when):
    """Check that each sector that differs is dirty."""
    for start, end, flags in part(whole, 0, len(after)):
        if not flags and before[start:end] != after[start:end]:
            at = next(
                at for at in range(start, end, 512) if before[at : at + 512] != after[at : at + 512]
            )
            raise AssertionError(f"qbd:dirty {when}: sector {at // 512} changed, but is clean")

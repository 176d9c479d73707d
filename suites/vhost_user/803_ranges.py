"""This case checks that discards and write zeroes of several ranges change exactly these.

How: requests with one to as many ranges as the daemon advertises, of one block and more, next to
each other and apart, with and without UNMAP. Zeroed ranges read as zeroes, discarded ones as before
or as zeroes, and nothing beside them changes. The table of ranges is in one segment, or cut.
Guards: virtio-first-range-only, virtio-ranges-merged.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.virtio_blk import RANGE, UNMAP, Feature, Kind, VirtioBlk

ROUNDS = 24


@case(
    groups="zero discard quick",
    requires="vhost_user",
    basis=(
        "MUST: virtio, Block Device",
        "MUST: virtio, Message Framing",
        "POLICY: discard-old-or-zero",
    ),
)
def test(disk, seed):
    random = seed.stream("ranges")
    with VirtioBlk(disk) as io:
        kinds = {
            Kind.DISCARD: io.has(Feature.DISCARD) and io.config.max_discard_seg,
            Kind.WRITE_ZEROES: io.has(Feature.WRITE_ZEROES) and io.config.max_write_zeroes_seg,
        }
        kinds = {kind: most for kind, most in kinds.items() if most}
        if not kinds:
            raise NotRun("the daemon offers neither discards nor write zeroes")
        for number in range(ROUNDS):
            kind = list(kinds)[number % len(kinds)]
            what = send(io, random, kind, random.randint(1, min(kinds[kind], 8)))
            if number % 4 == 3:
                io.write(random.randrange(disk.size // io.block) * io.block, io.block)
            parts = pieces(io)
            io.read(0, sum(parts), pieces=parts, after=what)
    disk.verify()


def pieces(io):
    """Return segments of 64 KiB or more for a read of 1 MiB, or as much as the daemon takes."""
    step = max(65536, -(-(1 << 20) // io.most_segments))
    step = min(-(-step // io.block) * io.block, io.longest_segment)
    total = min(io.disk.size, 1 << 20, io.most_segments * step) // io.block * io.block
    return [min(step, total - at) for at in range(0, total, step)]


def send(io, random, kind, count):
    """Send one request with ``count`` ranges that do not overlap; return what it was."""
    blocks = min(io.disk.size, 1 << 20) // io.block
    places = sorted(random.sample(range(blocks), min(2 * count, blocks // 2 * 2)))
    unmap = UNMAP if kind == Kind.WRITE_ZEROES and random.random() < 0.5 else 0
    per_block = io.block // 512
    ranges = list(zip(places[::2], places[1::2], strict=True))
    random.shuffle(ranges)
    payload = b"".join(
        RANGE.pack(first * per_block, (end - first) * per_block, unmap) for first, end in ranges
    )
    cut = [5, len(payload) - 5] if io.most_segments > 1 and random.random() < 0.5 else ()
    name = kind.name.lower().replace("_", " ")
    how = ", with UNMAP" if unmap else ""
    what = f"a {name} of {len(ranges)} ranges of blocks of {io.block} bytes{how}: {ranges}"
    for first, end in ranges:
        offset, length = first * io.block, (end - first) * io.block
        if kind == Kind.WRITE_ZEROES:
            io.disk.shadow.zero(offset, length)
        else:
            io.disk.shadow.discard(offset, length)
    io.must_succeed(io.requests.send(kind, 0, payload, pieces=cut), what)
    return what

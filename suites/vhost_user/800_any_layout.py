"""This case checks that a request means the same in every layout of its descriptors.

How: writes and reads with their data in one segment, in pages, in sectors, and cut at any byte; as
a chain in the ring and by an indirect table. Then with the header in two parts, the header and the
data in one descriptor, the data and the status in one, and a table whose descriptors are linked in
another order than they are in. A device may assume no arrangement.
Guards: virtio-status-in-last-of-one, virtio-segment-lost, virtio-indirect-limit,
virtio-table-in-order.
"""

from qbdcheck.kit import case
from qbdcheck.kit.virtio_blk import (
    HEADER,
    Feature,
    Kind,
    Pending,
    Segment,
    Status,
    VirtioBlk,
    name_of,
)

ROUNDS = 60
TOGETHER, BACKWARDS = "data and status together", "by a table whose links go backwards"
LAYOUTS = ("header in two parts", BACKWARDS, "header and data together", TOGETHER)


@case(
    groups="rw quick",
    requires="vhost_user",
    basis=("MUST: virtio, Message Framing", "MUST: virtio, Block Device"),
)
def test(disk, seed):
    random = seed.stream("layouts")
    with VirtioBlk(disk) as io:
        for number in range(ROUNDS):
            most = min(16384, io.most_segments * io.longest_segment)
            length = io.block * random.randint(1, max(1, most // io.block))
            offset = random.randrange(0, disk.size - length) // io.block * io.block
            indirect = io.has(Feature.INDIRECT_DESC) and bool(number & 1)
            pieces = cut(random, length, io, number % 4)
            io.write(offset, length, pieces=pieces, indirect=indirect)
            io.read(offset, length, pieces=cut(random, length, io, random.randrange(4)))
        fits = io.longest_segment >= io.block + HEADER.size
        for layout in LAYOUTS if fits else LAYOUTS[:2]:
            for indirect in {layout == BACKWARDS, True} & {False, io.has(Feature.INDIRECT_DESC)}:
                offset = random.randrange(0, disk.size // io.block) * io.block
                strange(io, layout, offset, indirect=indirect)
                io.read(offset, io.block)
    disk.verify()


def cut(random, length, io, way):
    """Return lengths of segments: one, pages, blocks, or any; as many as the daemon permits."""
    if way == 0 and length <= io.longest_segment:
        return [length]
    smallest = -(-length // io.most_segments)
    step = max({1: 4096, 2: io.block}.get(way, 1), -(-smallest // io.block) * io.block)
    step = min(step, io.longest_segment)
    if way < 3 or length > io.longest_segment:
        return [min(step, length - at) for at in range(0, length, step)]
    most = min(io.most_segments, 16)
    places = sorted(random.sample(range(1, length), min(most - 1, length - 1)))
    ends = [*places, length]
    return [end - start for start, end in zip([0, *places], ends, strict=True)]


def strange(io, layout, offset, *, indirect):
    """Write one block (or read it) with a layout that guests do not use, and judge the answer."""
    reads = layout in {TOGETHER, BACKWARDS}
    data = b"" if reads else io.disk.shadow.stamped(offset, io.block)
    pending = Pending(io.requests, len(data), io.block + 1 if reads else 0, 8)
    memory = io.front_end.memory.map
    start = pending.data_offset - HEADER.size if layout.startswith("header and") else pending.offset
    HEADER.pack_into(memory, start, Kind.READ if reads else Kind.WRITE, 0, offset // 512)
    memory[pending.data_offset : pending.data_offset + len(data)] = data
    status = Segment(pending.status_offset, 1, to_driver=True)
    whole = Segment(pending.data_offset, io.block, to_driver=reads)
    segments = [Segment(start, HEADER.size, to_driver=False), whole, status]
    if layout == "header in two parts":
        halves = [Segment(start, 8, to_driver=False), Segment(start + 8, 8, to_driver=False)]
        segments = [*halves, whole, status]
    elif layout == TOGETHER:
        memory[pending.data_offset + io.block] = Status.UNWRITTEN
        segments[1:] = [whole._replace(length=io.block + 1)]
    elif layout != BACKWARDS:
        segments = [Segment(start, HEADER.size + io.block, to_driver=False), status]
    backwards = layout == BACKWARDS
    io.requests.submit(pending, segments, indirect=indirect, queue=0, backwards=backwards)
    what = f"{'a read' if reads else 'a write'} of {io.block} bytes at {offset}, {layout}"
    answer = io.finish(pending, what)
    if layout == TOGETHER:
        answer = memory[pending.data_offset + io.block]
    seen = pending.data()[: io.block] if reads else b""
    pending.free()
    assert answer == Status.OK, f"{what}: the daemon answers {name_of(answer)}"
    if reads:
        io.judge(offset, seen, what)
    else:
        io.disk.shadow.write(offset, data)

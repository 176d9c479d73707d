"""This case checks that a request may begin in the ring and continue in an indirect table.

How: the header, or the header and some segments of data, are in descriptors of the ring; the last
of these refers to a table with the rest. A device must handle none or more descriptors before it.
Guards: virtio-table-only-first.
"""

from qbdcheck.kit import NotRun, case
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


@case(
    groups="rw",
    requires="vhost_user",
    basis="MUST: virtio, Indirect Descriptors",
)
def test(disk):
    with VirtioBlk(disk) as io:
        if not io.has(Feature.INDIRECT_DESC):
            raise NotRun("the daemon does not offer indirect descriptors")
        parts = min(4, io.most_segments)
        for direct in range(1, parts + 1):
            offset = direct * parts * io.block
            send(io, Kind.WRITE, offset, parts, direct)
            send(io, Kind.READ, offset, parts, direct)
    disk.verify()


def send(io, kind, offset, parts, direct):
    """Send a request of ``parts`` blocks, of which ``direct`` descriptors are in the ring."""
    reads, length = kind == Kind.READ, parts * io.block
    data = b"" if reads else io.disk.shadow.stamped(offset, length)
    pending = Pending(io.requests, len(data), length if reads else 0, parts + 2)
    memory = io.front_end.memory.map
    HEADER.pack_into(memory, pending.offset, kind, 0, offset // 512)
    memory[pending.data_offset : pending.data_offset + len(data)] = data
    segments = [Segment(pending.offset, HEADER.size, to_driver=False)]
    segments += [
        Segment(pending.data_offset + n * io.block, io.block, to_driver=reads) for n in range(parts)
    ]
    segments.append(Segment(pending.status_offset, 1, to_driver=True))
    what = (
        f"a {kind.name.lower()} of {length} bytes at {offset}, with {direct} descriptors in the"
        f" ring and {len(segments) - direct} in a table"
    )
    if not reads:
        io.disk.shadow.maybe_write(offset, data)
    io.requests.submit(pending, segments, indirect=True, queue=0, direct=direct)
    answer, seen = io.finish(pending, what), pending.data()
    pending.free()
    assert answer == Status.OK, f"{what}: the daemon answers {name_of(answer)}"
    if reads:
        io.judge(offset, seen, what)
    else:
        io.disk.shadow.write(offset, data)

"""This case checks that a daemon writes the buffers of a request, all of them, and nothing else.

How: reads of one block to many, into memory that holds a pattern; the bytes before, behind and
between the segments must keep it, and each byte of the segments must be data of the disk. Writes
and flushes change their status byte alone. An identity has 20 bytes at most, and a shorter buffer
is not overrun. The used ring says that all of this was written.
Guards: virtio-writes-past-segment, virtio-identity-overruns, virtio-status-of-four-bytes,
virtio-used-length-0.
"""

from qbdcheck.kit import case
from qbdcheck.kit.virtio_blk import HEADER, Kind, Pending, Segment, Status, VirtioBlk, name_of

PATTERN = 0x5A
GAP = 64
ROUNDS = 20


@case(
    groups="rw quick",
    requires="vhost_user",
    basis=(
        "MUST: virtio, The Virtqueue Used Ring",
        "MUST: virtio, Block Device",
        "POLICY: used-length-covers-the-answer",
    ),
)
def test(disk, seed, policy):
    random = seed.stream("reads")
    with VirtioBlk(disk) as io:
        for _ in range(ROUNDS):
            count = random.randint(1, min(io.most_segments, 12))
            each = min(io.block * random.randint(1, 4), io.longest_segment // io.block * io.block)
            offset = random.randrange(0, (disk.size - count * each) // io.block) * io.block
            data, used = apart(io, Kind.READ, [each] * count, offset // 512, f"a read at {offset}")
            with policy("used-length-covers-the-answer"):
                assert used > count * each, (
                    f"a read of {count * each} bytes at {offset}: the used ring says that {used} "
                    f"bytes were written; with the status they are {count * each + 1}"
                )
            io.judge(offset, data, f"a read of {count} segments of {each} bytes at {offset}")
        for length in (20, 32, 8, 1):
            identity, _ = apart(io, Kind.GET_ID, [length], 0, f"an identity into {length} bytes")
            assert length != 20 or PATTERN not in identity or 0 in identity, (
                f"GET_ID: {identity!r} has neither 20 bytes nor a NUL"
            )
            assert all(byte == PATTERN for byte in identity[20:]), (
                f"GET_ID: bytes behind the first 20 were written: {identity!r}"
            )
        io.flush()
    disk.verify()


def apart(io, kind, lengths, sector, what):
    """Send a request whose segments lie apart in memory; return their contents and used length."""
    room = sum(lengths) + GAP * (len(lengths) + 1)
    pending = Pending(io.requests, 0, room, len(lengths) + 2)
    memory, at = io.front_end.memory.map, pending.data_offset
    memory[at : at + room] = bytes((PATTERN,)) * room
    HEADER.pack_into(memory, pending.offset, kind, 0, sector)
    places = [at + GAP * (n + 1) + sum(lengths[:n]) for n in range(len(lengths))]
    parts = [
        Segment(place, size, to_driver=True) for place, size in zip(places, lengths, strict=True)
    ]
    head = Segment(pending.offset, HEADER.size, to_driver=False)
    status = Segment(pending.status_offset, 1, to_driver=True)
    around = bytes((PATTERN,)) * 16
    memory[pending.status_offset + 1 : pending.status_offset + 17] = around
    io.requests.submit(pending, [head, *parts, status], indirect=False, queue=0)
    answer = io.finish(pending, what)
    seen = [bytes(memory[part.offset : part.offset + part.length]) for part in parts]
    gaps = bytearray(memory[at : at + room])
    for place, size in zip(places, lengths, strict=True):
        gaps[place - at : place - at + size] = bytes((PATTERN,)) * size
    behind = bytes(memory[pending.status_offset + 1 : pending.status_offset + 17])
    used = pending.written
    pending.free()
    odd = kind == Kind.GET_ID and lengths != [20]  # which a daemon may refuse
    assert odd or answer == Status.OK, f"{what}: the daemon answers {name_of(answer)}"
    wrong = [number for number, byte in enumerate(gaps) if byte != PATTERN]
    assert not wrong, (
        f"{what}: {len(wrong)} bytes outside of its segments were written, the first {wrong[0]} "
        f"bytes from the start of a buffer with segments of {lengths} bytes, {GAP} bytes apart"
    )
    assert behind == around, f"{what}: bytes behind the status byte were written"
    return b"".join(seen), used

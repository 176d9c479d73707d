"""This case checks that equal blocks and plain zeroes are kept apart, also after each end.

How: a random script writes whole and part blocks from an alphabet of two blocks and zeroes, over
data and over one another, discards, and takes a snapshot. All blocks are read again and again. Then
every copy is overwritten, zeroed or discarded, one by one. Then the server is stopped, killed and
cut off from power, as far as the target supports it.
Guards: dedup-shared-freed, zero-detect-drops-part, equal-write-skipped, flush-noop.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import TransmissionFlag
from qbdcheck.kit.server_ends import end, ways_of

BLOCK, BLOCKS, STEPS = 4096, 48, 160


@case(
    groups="rw zero discard flush crash quick",
    requires="raw_requests",
    basis=("MUST: NBD, NBD_CMD_WRITE", "MUST: NBD, NBD_CMD_FLUSH"),
)
def test(new_disk, nbd_io, target, seed):
    for number, way in enumerate(ways_of(new_disk(BLOCK)) or ["nothing"]):
        disk = new_disk(BLOCK * BLOCKS)
        snapshots = []
        with nbd_io(disk) as io:
            random = seed.stream(way)
            alphabet = [disk.shadow.stamped(0, BLOCK), disk.shadow.stamped(0, BLOCK), bytes(BLOCK)]
            play(io, random, alphabet)
        if "snapshot_read" in target.capabilities:
            snapshots.append(disk.snapshot("equal"))
        with nbd_io(disk) as io:
            play(io, random, alphabet)
            for at in random.sample(range(BLOCKS), BLOCKS):
                change(io, random, at * BLOCK, alphabet)
                io.read(0, disk.size)
            io.flush()
        for one in (disk, *snapshots):
            one.verify()
        if way != "nothing":
            end(disk, way, seed + number)
        for one in (disk, *snapshots):
            one.verify()


def play(io, random, alphabet):
    """Write blocks of the alphabet, the same one often twice in a row."""
    block = alphabet[0]
    minimum = max(io.block_sizes[0], 512)
    for step in range(STEPS):
        if random.random() < 0.6:
            block = random.choice(alphabet)
        at = random.randrange(BLOCKS) * BLOCK
        if random.random() < 0.15:
            change(io, random, at, alphabet)
        elif random.random() < 0.3 and minimum < BLOCK:
            start = random.randrange(BLOCK // minimum) * minimum
            length = random.randint(1, (BLOCK - start) // minimum) * minimum
            io.write(at + start, length, data=block[start : start + length])
        else:
            io.write(at, BLOCK, data=block)
        if step % 10 == 9:
            io.read(0, BLOCKS * BLOCK)
        if step % 40 == 39:
            io.flush()


def change(io, random, at, alphabet):
    """Discard, zero or overwrite one block."""
    kinds = [lambda: io.write(at, BLOCK), lambda: io.write(at, BLOCK, data=alphabet[2])]
    if io.offers(TransmissionFlag.SEND_TRIM):
        kinds += [lambda: io.discard(at, BLOCK)] * 2
    if io.offers(TransmissionFlag.SEND_WRITE_ZEROES):
        kinds.append(lambda: io.write_zeroes(at, BLOCK))
    random.choice(kinds)()

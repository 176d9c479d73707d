"""This case checks that data of any kind is read back, whatever it replaces and resembles.

How: clusters of 64 KiB with random bytes, one byte, one word, few bytes that are not zero, zeroes,
and random bytes that differ from others in one bit. Each kind replaces each kind, as a whole and in
parts. Then 320 equal blocks are written, and some of them are overwritten. Blocks of each of the
256 values of a byte are written, aligned to 4 KiB and not.
Guards: all-ones-is-erased, compressed-block-grows, compressed-part-overwrite, dedup-prefix-hash,
zero-detect-samples, pattern-collapsed, reference-count-wraps, tweak-unit-changes.
"""

from qbdcheck.kit import case

CLUSTER, BLOCK, MIB = 65536, 4096, 1 << 20
PARTS = ((0, 512), (512, 4096), (30_720, 512), (61_440, 4096))


@case(groups="rw quick", requires="raw_requests", basis="MUST: NBD, NBD_CMD_WRITE")
def test(new_disk, nbd_io, seed):
    disk = new_disk("7M")
    random = seed.stream("contents")
    kinds = all_kinds(random)
    with nbd_io(disk) as io:
        block = io.block_sizes[0]
        for number, (old, new) in enumerate((old, new) for old in kinds for new in kinds):
            start = number * CLUSTER
            io.write(start, CLUSTER, data=old())
            io.write(start, CLUSTER, data=new())
            io.read(start, CLUSTER)
            io.write(start, CLUSTER, data=old())
            at, length = PARTS[number % len(PARTS)]
            if (at | length) % block == 0:
                io.write(start + at, length)
            io.read(start, CLUSTER)
        io.read(0, 3 * MIB)
        same = random.randbytes(BLOCK)
        io.write(5 * MIB // 2, 320 * BLOCK, data=same * 320)
        for at in random.sample(range(320), 80):
            io.write(5 * MIB // 2 + at * BLOCK, BLOCK)
        io.read(5 * MIB // 2, 320 * BLOCK)
        values = b"".join(bytes([value]) * BLOCK for value in range(256))
        for start in (4 * MIB, 11 * MIB // 2 + block):
            io.write(start, MIB, data=values)
            io.read(start, MIB)
    disk.verify()


def all_kinds(random):
    """Return functions that make the contents of a cluster."""
    noise = random.randbytes(BLOCK)

    def near():
        """Return blocks that differ in one bit from each other."""
        data = bytearray(noise * (CLUSTER // BLOCK))
        for at in range(0, CLUSTER, BLOCK):
            data[at + random.choice((0, 100, 2048, 3600, 4095))] ^= 1 << random.randrange(8)
        return bytes(data)

    def sparse():
        """Return blocks of zeroes with one other byte."""
        data = bytearray(CLUSTER)
        for at in range(0, CLUSTER, BLOCK):
            data[at + random.randrange(BLOCK)] = random.randrange(1, 256)
        return bytes(data)

    return (
        lambda: random.randbytes(CLUSTER),
        lambda: bytes([random.randrange(1, 256)]) * CLUSTER,
        lambda: random.randbytes(8) * (CLUSTER // 8),
        near,
        sparse,
        lambda: bytes(CLUSTER),
    )

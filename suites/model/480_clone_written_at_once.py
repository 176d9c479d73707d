"""This case checks that a clone that is written as soon as it is made loses no parent's data.

How: from its end to its start, faster than a copy in the background goes, the clone is written,
zeroed and discarded in pieces of 512 bytes to 96 KiB, aligned to nothing that such a copy may count
in, by two connections in turn, which read round each piece. In the end all of it is looked at, and
again when a copy has had time to be over: when a snapshot of the clone was taken.
Guards: rebuild-granularity-mismatch, clone-copyup-lost, iov-offset-ignored.
"""

from qbdcheck.kit import case

SECTOR, STEP = 512, 48 << 10


@case(groups="model snapshot quick", requires="nbd multi_conn clone write_zeroes discard")
def test(new_disk, nbd, seed):
    disk = new_disk("4M")
    random = seed.stream("pieces")
    clone = disk.snapshot("base").clone("copy")
    with nbd(clone) as one, nbd(clone) as other:
        for number, start in enumerate(range(disk.size - STEP, 0, -STEP)):
            client, reader = (one, other) if number % 2 else (other, one)
            offset = start + random.randrange(STEP // SECTOR) * SECTOR
            length = min(random.choice((1, 7, 8, 65, 129, 192)) * SECTOR, disk.size - offset)
            kind = random.choice(("write", "write", "write", "zero", "discard"))
            if kind == "write":
                data = clone.shadow.stamped(offset, length)
                client.write(offset, data)
                clone.shadow.write(offset, data)
            elif kind == "zero":
                client.write_zeroes(offset, length)
                clone.shadow.zero(offset, length)
            else:
                client.trim(offset, length)
                clone.shadow.discard(offset, length)
            clone.judge(start, reader.read(start, STEP))
        clone.judge(0, one.read(0, clone.size))
        one.flush()
        later = clone.snapshot("later")
    later.verify()
    clone.verify()
    disk.verify()

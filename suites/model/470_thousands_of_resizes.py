"""This case checks that each of thousands of resizes is done, and brings zeroes.

How: a volume grows, is looked at by a new client, is written to old and new space at once, read
back, and shrinks again; each time the new space must be zeroes, and the old as it was written.
Guards: resize-false-success, grow-exposes-old-data, late-request-after-quiesce,
resize-not-notified.
"""

from qbdcheck.kit import case

MIB, MORE, ROUNDS, BLOCK = 1 << 20, 32 << 10, 1000, 4096


@case(groups="model size slow", requires="nbd resize", limit_s=400)
def test(new_disk, nbd, seed):
    disk = new_disk("1M")
    chance = seed.stream("places")
    for number in range(ROUNDS):
        disk.resize(MIB + MORE)
        with nbd(disk) as client:
            told = f"resize {number}: the size is {client.size}, not {disk.size}"
            assert client.size == disk.size, told
            findings = disk.shadow.check(MIB, bytes(client.read(MIB, MORE)))
            assert not findings, "\n".join(map(str, findings))
            for start in (BLOCK * chance.randrange(MIB // BLOCK), MIB + MORE - BLOCK):
                data = disk.shadow.stamped(start, BLOCK)
                client.write(start, data)
                disk.shadow.write(start, data)
                findings = disk.shadow.check(start, bytes(client.read(start, BLOCK)))
                assert not findings, "\n".join(map(str, findings))
        disk.resize(MIB)
    disk.verify()

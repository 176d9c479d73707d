"""This case checks that none of thousands of power cuts takes what a flush or FUA made durable.

How: a few writes, zeroes and discards in two places a MiB apart; mostly a flush; some more, half
of them with FUA; and the power is cut. After each cut every sector must be one that may be
there, and then is what the next cut begins with.
Guards: flush-noop, fua-write-ack-early, fua-lost-on-trim, flush-one-child-only,
zero-unmap-not-durable, destage-reorder, torn-write, journal-slot-overlap.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import CommandFlag

MIB, PLACE, CUTS = 1 << 20, 16 << 10, 6000
KINDS = ("write", "write", "zero", "discard")


@case(
    groups="rw flush crash slow", requires="nbd flush fua write_zeroes discard crash", limit_s=400
)
def test(new_disk, nbd, seed):
    disk = new_disk("2M")
    chance = seed.stream("cuts")
    for number in range(CUTS):
        with nbd(disk) as client:
            for start in (0, MIB):
                disk.shadow.settle(start, bytes(client.read(start, PLACE)))
            for _ in range(chance.randrange(1, 4)):
                change(disk.shadow, client, chance, fua=False)
            if chance.random() < 0.8:
                client.flush()
                disk.shadow.flush()
            for _ in range(chance.randrange(4)):
                change(disk.shadow, client, chance, fua=chance.random() < 0.5)
            disk.backend.crash(seed=seed + number)
    disk.verify()


def change(shadow, client, chance, fua):
    """Change some sectors, on the disk and in its shadow."""
    length = 512 * chance.randrange(1, 9)
    offset = chance.choice((0, MIB)) + 512 * chance.randrange(PLACE // 512 - 8)
    flags = CommandFlag.FUA if fua else 0
    kind = chance.choice(KINDS)
    if kind == "write":
        data = shadow.stamped(offset, length)
        client.write(offset, data, flags)
        shadow.write(offset, data, fua=fua)
    elif kind == "zero":
        client.write_zeroes(offset, length, flags)
        shadow.zero(offset, length, fua=fua)
    else:
        client.trim(offset, length, flags)
        shadow.discard(offset, length)

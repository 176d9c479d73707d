"""This case checks that a pause of a second or more loses nothing.

How: bursts of writes, reads and flushes on two connections, then nothing for a second, then bursts
again, twice. The first request after a pause is a write, then a read, on either connection.
Guards: idle-write-lost, idle-read-fails.
"""

from qbdcheck.kit import case, pause
from qbdcheck.kit.nbd import Command

PAUSES_S = (1.0, 1.0)


@case(
    groups="rw concurrent protocol",
    requires="nbd",
    basis="POLICY: clients-do-not-disturb-each-other",
)
def test(new_disk, nbd_io, seed):
    rest(new_disk("1M"), nbd_io, seed.stream("bursts"), PAUSES_S)


def rest(disk, nbd_io, random, pauses_s):
    with nbd_io(disk) as one, nbd_io(disk) as other:
        for number, pause_s in enumerate(pauses_s):
            for io in (one, other):
                burst(io, random)
            pause(pause_s)
            first, second = (one, other) if number % 2 else (other, one)
            if number % 2:
                first.read(0, 8192)
            first.write(16384, 8192)
            second.read(16384, 8192)
            second.write(0, 8192)
            for io in (one, other):
                burst(io, random)
    disk.verify()


def burst(io, random):
    """Send requests to all parts of the volume at once, and wait for all."""
    for slot in random.sample(range(16), 16):
        command = random.choice((Command.WRITE, Command.READ))
        io.send(command, slot << 16, random.choice((4096, 16384)))
    io.finish_all()
    io.flush()

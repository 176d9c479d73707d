"""This case checks that what a vanished client had in flight changes its own place, or nothing.

How: a client sends writes, write zeroes and discards of 512 bytes to 256 KiB, and closes its
socket at once, without DISC; so do seven more. Then the whole volume is read: each request is done,
sector by sector, or it is not, and no other place has changed.
Guards: reset-write-at-zero.
Related: abrupt-end-drops-write, cut-payload-written.
"""

from qbdcheck.kit import case, pause
from qbdcheck.kit.nbd import Command, TransmissionFlag

SLOT = 256 << 10
SIZE = 32 << 20
CLIENTS, REQUESTS = 8, 6
LENGTHS = (512, 1536, 4096, 20480, 64 << 10, 96 << 10, SLOT)
COMMANDS = (
    (Command.WRITE, None),
    (Command.WRITE, None),
    (Command.WRITE_ZEROES, TransmissionFlag.SEND_WRITE_ZEROES),
    (Command.TRIM, TransmissionFlag.SEND_TRIM),
)


@case(
    groups="protocol concurrent quick",
    requires="raw_requests",
    basis=("POLICY: clients-do-not-disturb-each-other", "POLICY: no-late-write"),
)
def test(new_disk, nbd_io, seed, log):
    random = seed.stream("places")
    disk = new_disk(SIZE)
    slots = random.sample(range(1, SIZE // SLOT), CLIENTS * REQUESTS)  # nobody changes slot 0
    for _ in range(CLIENTS):
        io = nbd_io(disk)
        for _ in range(REQUESTS):
            length = random.choice(LENGTHS)
            room = SLOT - length
            offset = slots.pop() * SLOT + random.choice((0, room, room // 1024 * 512))
            command = random.choice([one for one, flag in COMMANDS if not flag or io.offers(flag)])
            io.send(command, offset, length)
            log(f"{command.name} of {length} bytes at {offset}")
        io.client.sock.close()
    pause(0.1)  # what is still carried out may end during the check, too
    disk.verify()

"""This case checks that requests of all kinds work alike in each header mode.

How: simple replies, structured replies and extended headers, each on a connection of its own. In
each mode requests of all commands are in flight together, with refused requests between the bursts:
beyond the end, of an unknown command, of a length that only extended headers can carry. Each gets
one reply, refused ones change nothing, and all connections read what the others wrote. A server may
end the connection instead of an answer to what a client must not send; the case then continues on a
new one. After an answer the connection must work.
Guards: cookie-cut-to-32-bits.
"""

from errno import EINVAL

from qbdcheck.kit import case
from qbdcheck.kit.expectations import recommended
from qbdcheck.kit.nbd import Command, CommandFlag, ReplyMode, TransmissionFlag
from qbdcheck.kit.nbd_io import CLOSED

SLOT, SLOTS, BURSTS = 64 << 10, 16, 3
FLAGS = {
    Command.TRIM: TransmissionFlag.SEND_TRIM,
    Command.WRITE_ZEROES: TransmissionFlag.SEND_WRITE_ZEROES,
    Command.CACHE: TransmissionFlag.SEND_CACHE,
}


@case(
    groups="protocol rw zero discard concurrent quick",
    requires="nbd",
    basis=("MUST: NBD, Transmission", "MUST: NBD, NBD_OPT_EXTENDED_HEADERS"),
)
def test(new_disk, nbd_io, seed, log):
    disk = new_disk(SLOT * SLOTS)
    random = seed.stream("requests")
    for round_ in range(2):
        for mode in ReplyMode:
            structured, extended = mode >= ReplyMode.STRUCTURED, mode is ReplyMode.EXTENDED
            left = [*range(BURSTS)]
            while left:
                with nbd_io(disk, structured=structured, extended=extended) as io:
                    log(f"round {round_}: asked for {mode.name}, got {io.client.mode.name}")
                    while left:
                        left.pop()
                        burst(io, random)
                        if not outlives_refusals(io, disk.size):
                            break
                    else:
                        io.read(0, disk.size)
    disk.verify()


def burst(io, random):
    """Send a request of a random command to each slot, all in flight together."""
    commands = [Command.READ, Command.WRITE]
    commands += [one for one, flag in FLAGS.items() if io.offers(flag)]
    if Command.CACHE in commands and io.attempt(Command.CACHE, 0, 4096) == EINVAL:
        commands.remove(Command.CACHE)  # a server may have nothing to cache (NBD, NBD_CMD_CACHE)
    fua = CommandFlag.FUA if io.offers(TransmissionFlag.SEND_FUA) else 0
    for slot in random.sample(range(SLOTS), SLOTS):
        command = random.choice(commands)
        length = min(random.choice((4096, 12 << 10, SLOT)), io.block_sizes[2])
        changes = command in {Command.WRITE, Command.WRITE_ZEROES, Command.TRIM}
        io.send(command, slot * SLOT, length, random.choice((0, fua)) if changes else 0)
    io.finish_all()
    io.flush()


def outlives_refusals(io, size):
    """Send requests that must fail; return whether the connection is there afterwards."""
    for command in (Command.READ, Command.WRITE):
        if io.must_refuse(command, size, 4096) == CLOSED:  # beyond the end
            return False
        io.read(0, 4096)  # after an answer, the connection works
    answer = io.attempt(63, 0, 4096)
    assert answer, "the unknown command 63 succeeds"
    with recommended("NBD, Error values"):  # no MUST forbids a client to send it
        assert answer != CLOSED, "the unknown command 63 ends the connection"
    if io.client.mode is ReplyMode.EXTENDED and io.offers(TransmissionFlag.SEND_WRITE_ZEROES):
        return io.must_refuse(Command.WRITE_ZEROES, 4096, 1 << 40) != CLOSED
    return True

"""This case checks that two requests in flight next to each other do what each does alone.

How: on a fresh volume, and on a clone, two connections each send one of a pair: parts of one block;
plain zeroes over the only data of a block of 2 MiB, and a write elsewhere in it; zeroes behind all
data, and a write behind these; a read of what is discarded, with a write of new data. All that a
request did not change is what it was, and a read returns old data or zeroes.
Guards: clone-part-writes-race, zeroed-block-freed-under-write, zeroes-past-end-truncate,
page-freed-under-read.
"""

from functools import partial

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, TransmissionFlag
from qbdcheck.kit.nbd_requests import widened

KIB, MIB, ROUNDS = 1 << 10, 1 << 20, 12
SIZE, UNIT, BLOCK = 8 * MIB, 2 * MIB, 4096


@case(
    groups="concurrent rw zero discard snapshot quick",
    requires="raw_requests multi_conn",
    basis=("MUST: NBD, NBD_CMD_WRITE", "MUST: NBD, NBD_CMD_READ", "POLICY: discard-old-or-zero"),
)
def test(new_disk, nbd_io, target, seed):
    disk = new_disk(SIZE, prefill=False)
    volumes = [disk]
    if {"clone", "snapshot_read"} <= set(target.capabilities):
        parent = new_disk(SIZE, beside=disk) if "add_volume" in target.capabilities else disk
        volumes.append(parent.snapshot("base").clone("clone"))
    for volume in volumes:
        random = seed.stream(volume.name)
        with nbd_io(volume) as one, nbd_io(volume) as two:
            pairs = [parts_of_a_block]
            if one.offers(TransmissionFlag.SEND_WRITE_ZEROES):
                pairs += [zeroes_behind_all, last_data_zeroed]
            if one.offers(TransmissionFlag.SEND_TRIM):
                pairs.append(read_and_discard)
            for round_ in range(ROUNDS):
                for pair in pairs:
                    pair(*random.sample((one, two), 2), round_, random)
            for start in range(0, SIZE, MIB):
                one.read(start, MIB)


def together(first, second):
    """Send two requests, and wait for both."""
    cookies = [(io, send()) for io, send in (first, second)]
    for io, cookie in cookies:
        io.finish(cookie)


def parts_of_a_block(one, two, round_, random):
    unit = max(512, one.block_sizes[0])
    for number in range(4):
        at = (MIB + (4 * round_ + number) * 8 * unit) % (2 * MIB)
        places = (at + random.randrange(4) * unit, at + (4 + random.randrange(4)) * unit)
        together(*((io, partial(io.send, Command.WRITE, place, unit))
                   for io, place in zip((one, two), places, strict=True)))  # fmt: skip
        one.read(at, 8 * unit)


def last_data_zeroed(one, two, round_, random):
    """Zero the only data of 2 MiB by a plain write, while other data is written there."""
    at, length = widened(2 * UNIT + random.randrange(32) * 16 * KIB, BLOCK, one.block_sizes[0])
    one.write_zeroes(2 * UNIT, UNIT)
    one.write(at, length)
    other = (2 * UNIT + MIB + round_ * 64 * KIB, 16 * KIB)
    together(
        (one, partial(one.send, Command.WRITE, at, length, data=bytes(length))),
        (two, partial(two.send, Command.WRITE, *other)),
    )
    two.read(2 * UNIT, UNIT)


def zeroes_behind_all(one, two, round_, random):
    """Zero what is behind all data, while what follows is written."""
    at = 3 * UNIT + round_ * 128 * KIB
    lengths = [widened(0, random.choice((BLOCK, 32 * KIB)), one.block_sizes[0])[1] for _ in "12"]
    together(
        (one, partial(one.send, Command.WRITE_ZEROES, at, lengths[0])),
        (two, partial(two.send, Command.WRITE, at + lengths[0], lengths[1])),
    )
    one.read(at, sum(lengths))


def read_and_discard(one, two, round_, random):
    """Read blocks while they are discarded, and while others are written for the first time."""
    for number in range(4):
        at, length = widened(64 * KIB * (round_ + 1), BLOCK, one.block_sizes[0])
        one.write(at, length)
        cookies = [two.send(Command.READ, at, length), one.send(Command.TRIM, at, length)]
        one.send(Command.WRITE, MIB + 512 * KIB + (4 * round_ + number) * 2 * length, length)
        two.finish(cookies[0])  # before the reply to the discard: old or zero
        one.finish_all()
        two.read(at, length)

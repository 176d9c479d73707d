"""This case checks that a request that takes long in the storage is answered with its own result.

How: writes, zeroes and reads are in flight together. The storage delays each of them by
400 ms; then half of them fail. A reply must not come before the request has ended: what is
acknowledged is there, and what failed is reported as failed.
Guards: slow-write-answered-early, slow-read-returns-zeroes, missing-object-zero-fill,
async-error-ignored.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, TransmissionFlag
from qbdcheck.kit.request_errors import RequestFailed

SLOT, LENGTH, DELAY_MS, EACH = 65536, 8192, 400, 3
KINDS = (
    (Command.WRITE, "write_aio", "write", 0),
    (Command.WRITE_ZEROES, "pwritev_zero", "write-zeroes", TransmissionFlag.SEND_WRITE_ZEROES),
    (Command.READ, "read_aio", "read", 0),
)


@case(
    groups="errors inject rw concurrent quick",
    requires="nbd",
    basis=("MUST: NBD, Error values", "MUST: NBD, NBD_CMD_READ"),
)
def test(new_disk, nbd_io, rules):
    disk = new_disk("2M")
    half = disk.size // 2
    rules = rules.on(disk)
    with nbd_io(disk) as io:
        kinds = [kind for kind in KINDS if not kind[3] or io.offers(kind[3])]
        armed = [rules.add(delay(event, iotype, *part)) for _, event, iotype, _ in kinds
                 for part in ((0, half - 1, 0), (half, disk.size - 1, "EIO"))]  # fmt: skip
        sent = {}
        for slot in range(len(kinds) * EACH):
            command = kinds[slot % len(kinds)][0]
            for at, fails in ((slot * SLOT, False), (half + slot * SLOT, True)):
                sent[io.send(command, at, LENGTH)] = (command, at, fails)
        replies = {cookie: answer(io, cookie) for cookie in sent}
        for rule in armed:
            rules.remove(rule)
        for cookie, (command, at, fails) in sent.items():
            assert replies[cookie] == fails, (
                f"{command.name} of {LENGTH} bytes at {at} that takes {DELAY_MS} ms"
                f"{' and fails' if fails else ''}: {'an error' if replies[cookie] else 'success'}"
            )
        io.read(0, disk.size)
    disk.verify()


def delay(event, iotype, first, last, errno):
    """Return a rule that delays one kind of request in a range; 0 is no error."""
    rule = {"event": event, "iotype": iotype, "action": "delay", "milliseconds": DELAY_MS}
    return {**rule, "offset": f"{first}-{last}", **({"errno": errno} if errno else {})}


def answer(io, cookie):
    """Wait for a reply, and return whether it is an error."""
    try:
        io.finish(cookie)
    except RequestFailed:
        return True
    return False

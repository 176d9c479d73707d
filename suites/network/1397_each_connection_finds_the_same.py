"""This case checks that what a connection does to its own volume changes no later connection's.

How: a first connection reads its fresh volume. Further ones write, zero and discard parts or all of
theirs, with FUA and flushes, and end by DISC or without a word. A connection after each of them,
and one that was open meanwhile, must read the same bytes as the first one, whatever these are.
Guards: wrong-volume-or-lun, discard-overreach.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, CommandFlag, TransmissionFlag

KIB, SIZE, TURNS = 1 << 10, 512 << 10, 6
OFFERED = {
    Command.WRITE_ZEROES: TransmissionFlag.SEND_WRITE_ZEROES,
    Command.TRIM: TransmissionFlag.SEND_TRIM,
    Command.FLUSH: TransmissionFlag.SEND_FLUSH,
}


@case(
    groups="rw zero discard protocol quick",
    requires="nbd volume_per_connection",
    basis="MUST: NBD, NBD_CMD_READ",
)
def test(new_disk, nbd, seed):
    disk = new_disk(SIZE, prefill=False)
    random = seed.stream("requests")
    meanwhile = nbd(disk)
    fresh = bytes(meanwhile.read(0, SIZE))
    for turn in range(TURNS):
        client = nbd(disk)
        for command in (Command.WRITE, Command.TRIM, Command.WRITE_ZEROES, Command.TRIM):
            start = random.randrange(0, SIZE // 2, 64 * KIB)
            length = SIZE - start if turn % 2 else 64 * KIB
            change(client, command, start, length)
        if OFFERED[Command.FLUSH] & client.flags:
            client.flush()
        if turn % 3:
            client.close()
        else:
            client.sock.close()
        for reader, name in ((nbd(disk), "a new connection"), (meanwhile, "an older connection")):
            data = bytes(reader.read(0, SIZE))
            wrong = next((at for at in range(SIZE) if data[at] != fresh[at]), None)
            assert wrong is None, (
                f"byte {wrong} that {name} reads has changed after another connection, number"
                f" {turn}, changed its own volume: {data[wrong]:#04x}, was {fresh[wrong]:#04x}"
            )


def change(client, command, start, length):
    """Send one change if the server offers it, with FUA if it offers that."""
    flags = client.flags
    if command in OFFERED and not OFFERED[command] & flags:
        return
    fua = CommandFlag.FUA if TransmissionFlag.SEND_FUA & flags else 0
    payload = b"\xa5" * length if command == Command.WRITE else b""
    client.call(command, start, length, flags=fua, payload=payload)

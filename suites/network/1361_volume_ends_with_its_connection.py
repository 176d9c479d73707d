"""This case checks that a new connection has a fresh volume, with nothing of earlier connections.

How: forty connections come one after another. Each reads its volume, which must be fresh, fills
parts of it with data, and ends: by DISC, without a word, with requests in flight, or in the middle
of a write. The server still serves, and the last connection works in all parts of its volume.
Guards: wrong-volume-or-lun, connection-slot-leak.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import REQUEST, REQUEST_MAGIC, Command
from qbdcheck.kit.nbd_io import NbdIo

KIB, TURNS = 1 << 10, 40


@case(
    groups="rw protocol quick",
    requires="nbd volume_per_connection",
    basis=("MUST: NBD, NBD_CMD_READ", "MUST: NBD, Terminating the transmission phase"),
)
def test(new_disk, nbd, seed):
    disk = new_disk(256 * KIB, prefill=False)
    random = seed.stream("ends")
    for turn in range(TURNS):
        io = NbdIo(nbd(disk), disk.shadow.copy(writer=turn), f"connection {turn}")
        io.read(0, disk.size)
        length = max(4 * KIB, io.block_sizes[0])
        for place in random.sample(range(0, disk.size, length), 3):
            io.write(place, length)
            io.read(place, length)
        random.choice((NbdIo.close, without_a_word, in_flight, within_a_write))(io)
    io = NbdIo(nbd(disk), disk.shadow, "the last connection")
    io.read(0, disk.size)
    io.write(0, disk.size)
    io.read(0, disk.size)
    io.close()


def without_a_word(io):
    """Close the socket."""
    io.client.sock.close()


def in_flight(io):
    """Close the socket with eight writes in flight."""
    length = max(4 * KIB, io.block_sizes[0])
    for place in range(8):
        io.send(Command.WRITE, place * length, length)
    io.client.sock.close()


def within_a_write(io):
    """Close the socket after half of the data of a write."""
    length = max(4 * KIB, io.block_sizes[0])
    header = REQUEST.pack(REQUEST_MAGIC, 0, Command.WRITE, 77, 0, length)
    io.client.sock.sendall(header + bytes(length // 2))
    io.client.sock.close()

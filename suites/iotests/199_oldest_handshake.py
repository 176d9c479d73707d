"""This case checks that a client that knows only EXPORT_NAME gets the same volume as QEMU.

How: the handshake of the oldest clients on the wire; its size and flags are those that GO tells,
and data goes both ways.
Guards: handshake-length-off, size-rounded-down, size-change-across-reconnect.
"""

from qbdcheck.kit import case


@case(groups="names protocol quick", requires="nbd")
def test(disk, nbd, nbd_io):
    with nbd(disk) as modern:
        size, flags = modern.size, modern.flags
    for number in range(2):
        with nbd_io(disk, export_name=True) as io:
            client = io.client
            assert client.size == size, f"EXPORT_NAME gives {client.size} bytes, GO {size}"
            told = f"transmission flags {int(client.flags):#x}, size {client.size}: shifted or lost"
            assert client.flags & 0b111 == flags & 0b111, told
            io.write(number << 20, 4096)
            io.read(number << 20, 4096)
    disk.verify()

"""This case checks that a client that knows only EXPORT_NAME gets the same volume as QEMU.

How: the handshake of the oldest clients on the wire; its size and flags are those that GO tells,
and data goes both ways.
Guards: handshake-length-off, size-rounded-down, size-change-across-reconnect.
"""

from qbdcheck.kit import case


@case(groups="names protocol quick", requires="nbd")
def test(disk, nbd):
    shadow = disk.shadow
    with nbd(disk) as modern:
        size, flags = modern.size, modern.flags
    for number in range(2):
        with nbd(disk, export_name=True) as client:
            assert client.size == size
            told = f"transmission flags {int(client.flags):#x}, size {client.size}: shifted or lost"
            assert client.flags & 0b111 == flags & 0b111, told
            data = shadow.stamped(number << 20, 4096)
            client.write(number << 20, data)
            shadow.write(number << 20, data)
            assert bytes(client.read(number << 20, 4096)) == data
    disk.verify()

"""This case checks that a preferred block size arrives as it was set, byte for byte.

How: preferred sizes whose bytes differ, with minimum and maximum, on the wire and in QEMU.
Guards: config-byteswapped.
"""

from qbdcheck.kit import case


@case(groups="blocksize protocol", requires="nbd")
def test(new_disk, nbd, qemu_io):
    for preferred in (4096, 1 << 17, 1 << 20):
        disk = new_disk("4M", preferred_block=preferred)
        with nbd(disk) as client:
            assert client.block_sizes[1] == preferred, f"advertised {client.block_sizes}"
        with qemu_io(disk) as io:
            io.write(12345, 54321)
        disk.verify()

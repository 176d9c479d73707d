"""This case checks that first writes in random order are all there after each reopen.

How: an empty disk is filled block by block in an order from the seed, because sequential filling
would hide a damaged map. The client reopens the disk several times. If volumes outlive the server,
the server restarts too.
Guards: map-entry-shifted, phantom-write.
Related: close-drops-dirty.
"""

from qbdcheck.kit import case


@case(groups="rw", formats="any", basis="MUST: NBD, NBD_CMD_READ")
def test(new_disk, qemu_io, seed, target):
    disk = new_disk(prefill=False)
    blocks = list(range(0, disk.size, 16384))
    seed.stream("order").shuffle(blocks)
    for part in range(4):
        with qemu_io(disk) as io:
            for offset in blocks[part * 40 : part * 40 + 40]:
                io.write(offset + 512 * part, 4096)
            io.read(blocks[0], 4096)
        if "kill" in target.capabilities and part % 2:
            disk.backend.stop()
            disk.backend.start()
        if part % 2:
            disk.verify()

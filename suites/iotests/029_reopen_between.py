"""This case checks that first writes in random order are all there after each reopen.

How: a never-written disk is filled block by block in an order from the seed; sequential filling
would hide a damaged map. Every other client never flushes (cache mode unsafe): an orderly close
keeps that too.
Guards: map-entry-shifted, close-drops-dirty, per-client-cache-stale.
"""

from qbdcheck import case


@case(groups="rw quick", formats="any")
def test(new_disk, qemu_io, seed):
    disk = new_disk(prefill=False)
    blocks = list(range(0, disk.size, 16384))
    seed.stream("order").shuffle(blocks)
    for part in range(4):
        with qemu_io(disk, cache=("writeback", "unsafe")[part % 2]) as io:
            for offset in blocks[part * 60 : part * 60 + 60]:
                io.write(offset + 512 * part, 4096)
            io.read(blocks[0], 4096)
        disk.verify()

"""This case checks that a long random sequence of requests leaves exactly what it wrote.

How: 300 reads, writes, zeroes and flushes from the seed, many on few hot places, most unaligned;
each read is judged at once, every sector at the end.
Guards: phantom-write, misdirected-write, silent-bit-flip, write-zeroes-noop.
"""

from qbdcheck.kit import case


@case(groups="rw", formats="any", requires="write_zeroes")
def test(disk, qemu_io, seed):
    lot = seed.stream("workload")
    hot = [lot.randrange(disk.size) for _ in range(8)]
    with qemu_io(disk) as io:
        for _ in range(300):
            length = lot.choice((1, 511, 512, 4096, 10_000, 65_536))
            offset = lot.choice(hot) if lot.random() < 0.5 else lot.randrange(disk.size)
            offset = min(offset - lot.choice((0, offset % 512, offset % 4096)), disk.size - length)
            request = lot.choices(("write", "read", "zero", "flush"), (6, 3, 2, 1))[0]
            if request == "write":
                io.write(offset, length, fua=lot.random() < 0.1)
            elif request == "read":
                io.read(offset, min(length, 10_000))
            elif request == "zero":
                io.write_zeroes(offset, length, unmap=lot.random() < 0.5)
            else:
                io.flush()
    disk.verify()

"""This case checks that requests of length 0 succeed or are refused, and change nothing.

How: reads, writes and zeroes of length 0 at the start, within a sector, and at the end. NBD leaves
their result open (NBD document, "Command types"), so an error is right too.
Related: zero-length-op.
"""

from qbdcheck.kit import case


@case(groups="rw quick", formats="any", basis="POLICY: zero-length-changes-nothing")
def test(disk, qemu_io):
    with qemu_io(disk) as io:
        for offset in (0, 1, 511, disk.size // 2, disk.size - 1, disk.size):
            for request in ("read", "write -P 255", "write -z"):
                answer = io(f"{request} {offset} 0").strip()
                done = f" 0/0 bytes at offset {offset}" in answer or "failed: " in answer
                assert done, f"'{request} {offset} 0': expected 0 bytes or an error, got: {answer}"
        io.write(4096, 512)
        io.read(4096, 512)
    disk.verify()

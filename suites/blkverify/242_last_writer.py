"""This case checks that a mismatch names the last request that touched its place.

How: one place is written, zeroed and partly written again. Each part is damaged, and the report
names the last request there.
Related: phantom-write, silent-bit-flip.
"""

from qbdcheck.kit import case


@case(groups="verify rw", requires="write_zeroes", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write, golden):
    pair = dual_write(new_disk("1M"), exact=True)
    pair.ask("write", 0, 32768)
    pair.ask("zero", 8192, 8192)
    pair.ask("write", 12288, 4096, fua=True)
    pair.ask("read", 0, 32768)
    pair.together(("write", 65536, 8192), ("write", 69632, 8192))
    for offset in (4096, 9216, 13312, 17408, 66048, 74240, 131072):
        data = pair.peek(offset, 512)
        pair.damage(offset, bytes([data[0] ^ 1]) + data[1:])
    for mismatch in pair.verify():
        golden(mismatch.sector, mismatch.damage, "-", mismatch.last_write)

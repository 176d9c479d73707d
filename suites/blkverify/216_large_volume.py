"""This case checks that offsets above 4 GiB do not wrap.

How: 100 GiB; requests around 2 GiB, 4 GiB, 8 GiB, 64 GiB and the end, each compared with a sparse
file, and the places 4 GiB below and above them.
Guards: offset-32bit-wrap.
Related: size-int-overflow, sector-unit-mismatch.
"""

from qbdcheck.kit import case

GIB = 1 << 30


@case(groups="size rw verify", basis="MUST: NBD, NBD_CMD_READ")
def test(new_disk, dual_write):
    pair = dual_write(new_disk("100G", prefill=False))

    def up(length):
        return -(-length // pair.minimum) * pair.minimum

    around = [2 * GIB, 4 * GIB, 8 * GIB, 64 * GIB, 100 * GIB - 2 * up(4096)]
    for place in around:
        start, end = place - up(3000), place + up(4000)
        pair.together(("write", start, end - start), ("zero", place + up(4096), up(512)))
    step = up(4096)
    for place in (0, *around):
        for start in {max(0, place - step), (place + 4 * GIB - step) % (100 * GIB)}:
            fits = start + 3 * step <= 100 * GIB
            pair.ask("read", start, (3 if fits else 2) * step)
    pair.must_find_none(pair.mismatches)

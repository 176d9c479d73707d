"""This case checks that places above 4 GiB are places of their own.

How: 100 GiB; requests around 2 GiB, 4 GiB, 64 GiB and the end, each compared with a sparse file,
and the places 4 GiB below and above them.
Guards: offset-32bit-wrap, size-int-overflow, sector-unit-mismatch.
"""

from qbdcheck.kit import case

GIB = 1 << 30


@case(groups="size rw verify")
def test(new_disk, dual_write):
    pair = dual_write(new_disk("100G", prefill=False))
    around = [2 * GIB, 4 * GIB, 8 * GIB, 64 * GIB, 100 * GIB - 8192]
    for place in around:
        pair.together(("write", place - 3000, 7000), ("zero", place + 4096, 512))
    for place in (0, *around):
        for start in {max(0, place - 4096), (place + 4 * GIB - 4096) % (100 * GIB)}:
            pair.ask("read", start, 12288 if start + 12288 <= 100 * GIB else 8192)
    assert not pair.mismatches, pair.mismatches

"""This case checks that a write that went elsewhere is named so, and what it destroyed there.

How: one write of 20 lands 64 KiB too high; its own place has the old data, the other place says
which write is there and by how far it missed.
Guards: misdirected-write, map-entry-shifted.
"""

from qbdcheck.kit import case

RULES = """
rules: [{event: write_aio, iotype: write, action: misdirect, by: 128, after: 9, count: 1}]
"""


@case(groups="verify rw")
def test(new_disk, dual_write, golden):
    pair = dual_write(new_disk("1M"), rules=RULES)
    for number in range(20):
        pair.ask("write", number * 4096, 2048)
    for mismatch in pair.verify():
        golden(mismatch.side, mismatch.sector, mismatch.length, mismatch.text)
        golden("   ", mismatch.last_write)

"""This case checks that a misdirected write is named, with the data that it destroyed.

How: one write of 16 lands 64 KiB too high. Its own place has the old data; for the other place the
report names the write that is there, and the distance.
Guards: misdirected-write.
Related: map-entry-shifted.
"""

from qbdcheck.kit import case

RULES = """
rules: [{event: write_aio, iotype: write, action: misdirect, by: 128, after: 9, count: 1}]
"""


@case(groups="verify rw", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write, golden):
    pair = dual_write(new_disk("1M"), rules=RULES)
    for number in range(16):
        pair.ask("write", number * 8192, 4096)
    for mismatch in pair.verify():
        golden(mismatch.side, mismatch.sector, mismatch.length, mismatch.text)
        golden("   ", mismatch.last_write)

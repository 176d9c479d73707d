"""This case checks that a torn write is found with the part that is missing.

How: of one write of 16 sectors the target does only the first eight.
Related: torn-write, short-read-resume-offset.
"""

from qbdcheck.kit import case

RULES = """
rules:
  - {event: write_aio, iotype: write, action: torn, keep: first-sectors, sectors: 8, once: true}
"""


@case(groups="verify rw", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write):
    pair = dual_write(new_disk("1M"), rules=RULES)
    pair.ask("write", 65536, 8192)
    pair.must_find_one(
        pair.verify(),
        side="target",
        damage="never written",
        offset=65536 + 8 * 512,
        length=8 * 512,
        last_write="#1 write 65536+8192",
    )

"""This case checks that zeroes that block status claims where data belongs are found.

How: writes into an empty volume are lost; before any of it is read, block status says zeroes.
Guards: status-hole-over-dirty, alloc-map-rounding-reads-zero, phantom-write.
"""

import json

from qbdcheck.kit import case

RULES = "rules: [{event: write_aio, iotype: write, action: drop}]"


@case(groups="verify status", requires="block_status")
def test(new_disk, dual_write, qemu_img, not_run):
    disk = new_disk("1M", prefill=False)
    parts = json.loads(qemu_img("map", "--output=json", disk.filename))
    if not any(part["zero"] for part in parts):
        not_run("block status calls an empty volume data")
        return
    pair = dual_write(disk, rules=RULES)
    pair.ask("write", 65536, 65536)
    found = pair.ask("status", 0, 1 << 20)
    assert {mismatch.damage for mismatch in found} == {"block status"}, found
    assert {(mismatch.difference, mismatch.side) for mismatch in found} == {
        ("block status", "target")
    }, found
    assert (found[0].offset, sum(mismatch.length for mismatch in found)) == (65536, 65536), found

"""This case checks that zeroes that block status reports in place of data are found.

How: writes into an empty volume are lost. Before any of it is read, block status reports zeroes.
Related: status-hole-over-dirty, alloc-map-rounding-reads-zero, phantom-write.
"""

import json

from qbdcheck.kit import NotRun, case

RULES = "rules: [{event: write_aio, iotype: write, action: drop}]"


@case(groups="verify status", requires="block_status", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write, qemu_img):
    disk = new_disk("1M", prefill=False)
    parts = json.loads(qemu_img("map", "--output=json", disk.filename))
    if not any(part["zero"] for part in parts):
        raise NotRun("the target's block status reports an empty volume as data")
    pair = dual_write(disk, rules=RULES)
    pair.ask("write", 65536, 65536)
    found = pair.ask("status", 0, 1 << 20)
    text = "\n".join(map(str, found))
    seen = {(mismatch.damage, str(mismatch.difference), mismatch.side) for mismatch in found}
    wanted = {("block status", "block status", "target")}
    assert seen == wanted, f"expected {wanted}, seen {seen}:\n{text}"
    length = sum(mismatch.length for mismatch in found)
    assert (found[0].offset, length) == (65536, 65536), f"lost: 65536+65536; found:\n{text}"

"""This case checks that data that became zeroes is named zeroed, with the expected data.

How: 3 sectors in the middle of a write are zeroed on the target, past the comparison.
Related: discard-overreach, missing-object-zero-fill, false-zero-init.
"""

from qbdcheck.kit import case


@case(groups="verify rw zero", basis="MUST: qbdcheck, docs/kit.md")
def test(new_disk, dual_write):
    pair = dual_write(new_disk("1M"), exact=True)
    pair.ask("write", 4096, 65536)
    pair.damage(8192, bytes(1536))
    found = pair.verify()
    text = "\n".join(map(str, found))
    damages = {mismatch.damage for mismatch in found}
    assert damages == {"zeroed"}, f"expected zeroed, seen {damages}:\n{text}"
    length = sum(mismatch.length for mismatch in found)
    assert (found[0].offset, length) == (8192, 1536), f"zeroed: 8192+1536; found:\n{text}"
    assert found[0].target == bytes(16) != found[0].reference, f"wrong bytes shown:\n{text}"
    assert "write #1" in found[0].text, f"the report does not name write #1:\n{text}"

"""This case checks that requests cut off by the target's death may be done or not, and no more.

How: the target is killed and started again between two batches of a workload; the lost connection
is reported for the requests that met it, then everything is compared as before.
Guards: inflight-hang-on-disconnect, error-kills-connection.
"""

from qbdcheck.kit import case


@case(groups="verify crash concurrent", requires="nbd kill flush")
def test(new_disk, dual_write):
    disk = new_disk("1M")
    pair = dual_write(disk)
    for number in range(8):
        pair.ask("write", number * 8192, 4096)
    pair.ask("flush")
    disk.backend.kill()
    found = pair.together(*(("write", number * 8192, 8192) for number in range(16, 24)))
    assert [mismatch.damage for mismatch in found] == ["error"] * 8, found
    disk.backend.start()
    for number in range(32, 48):
        assert not pair.ask("write", number * 8192, 4096)
    assert not pair.verify()

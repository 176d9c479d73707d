"""This case checks that requests cut off by the target's death may be done or not, and no more.

How: the target is killed and restarted between two batches of a workload. The lost connection is
reported for the requests that it hit; then everything is compared as before.
Guards: inflight-hang-on-disconnect, error-kills-connection.
"""

from qbdcheck.kit import case


@case(
    groups="verify crash concurrent",
    requires="raw_requests kill flush",
    basis=("MUST: NBD, NBD_CMD_FLUSH", "POLICY: no-late-write"),
)
def test(new_disk, dual_write):
    disk = new_disk("1M")
    pair = dual_write(disk)
    for number in range(8):
        pair.ask("write", number * 8192, 4096)
    pair.ask("flush")
    disk.backend.kill()
    found = pair.together(*(("write", number * 8192, 8192) for number in range(16, 24)))
    damages = [mismatch.damage for mismatch in found]
    assert damages == ["error"] * 8, f"8 requests to a dead target, found {damages}"
    disk.backend.start()
    for number in range(32, 48):
        pair.must_find_none(pair.ask("write", number * 8192, 4096))
    pair.must_find_none(pair.verify())

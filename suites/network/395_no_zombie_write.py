"""This case checks that a write of a lost connection does not come back over newer data.

How: a write, write-zeroes or discard is held in the server when its client vanishes; another client
writes the same place, flushes and reads; then what was held is let go. Nothing newer may change.
What is still in the network is another matter: NBD has no fence (docs/findings.md).
Guards: zombie-write-after-reconnect, late-request-after-quiesce.
"""

from qbdcheck.kit import case, pause
from qbdcheck.kit.nbd import Command

LENGTH = 8192
KINDS = [
    ("write", Command.WRITE, b"old!" * (LENGTH // 4)),
    ("write-zeroes", Command.WRITE_ZEROES, b""),
    ("discard", Command.TRIM, b""),
]


@case(groups="protocol inject network", requires="nbd flush write_zeroes discard")
def test(disk, nbd, rules):
    shadow = disk.shadow
    for number, (kind, command, payload) in enumerate(KINDS):
        for when in ("before", "after"):
            offset = number << 20
            fault = {"action": "hang", "when": when, "once": True}
            rule = rules.add({"event": "none", "iotype": kind, **fault})
            old = nbd(disk)
            old.send_request(command, offset, LENGTH, payload=payload)
            while not rules.seen(rule).held:
                pause(0.01)
            old.sock.close()
            newer = nbd(disk)
            data = shadow.stamped(offset, LENGTH)
            newer.write(offset, data)
            shadow.write(offset, data)
            newer.flush()
            rules.resume()
            while rules.seen(rule).held:
                pause(0.01)
            assert bytes(newer.read(offset, LENGTH)) == bytes(data), f"an old {kind} came back"
    disk.verify()

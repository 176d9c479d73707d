"""This case checks that a write of a lost connection does not overwrite newer data.

How: the server holds a write, write-zeroes or discard when its client vanishes. Another client
writes the same place, flushes and reads; then the server releases the old request. The newer data
must stay. Bytes that are still in the network are out of scope: NBD has no fence
(docs/findings.md).
Guards: zombie-write-after-reconnect, late-request-after-quiesce.
"""

from qbdcheck.kit import case, pause
from qbdcheck.kit.nbd import Command

LENGTH = 8192
KINDS = [
    ("write", Command.WRITE),
    ("write-zeroes", Command.WRITE_ZEROES),
    ("discard", Command.TRIM),
]


@case(
    groups="protocol inject network",
    requires="nbd flush write_zeroes discard",
    basis="POLICY: no-late-write",
)
def test(disk, nbd, nbd_io, rules, target):
    length = max(LENGTH, target.minimum_block)
    for number, (kind, command) in enumerate(KINDS):
        payload = b"old!" * (length // 4) if command == Command.WRITE else b""
        for when in ("before", "after"):
            offset = number << 20
            fault = {"action": "hang", "when": when, "once": True}
            rule = rules.add({"event": "none", "iotype": kind, **fault})
            old = nbd(disk)
            old.send_request(command, offset, length, payload=payload)
            while not rules.seen(rule).held:
                pause(0.01)
            old.sock.close()
            with nbd_io(disk) as newer:
                newer.write(offset, length)
                newer.flush()
                rules.resume()
                while rules.seen(rule).held:
                    pause(0.01)
                newer.read(offset, length)
    disk.verify()

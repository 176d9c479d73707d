"""This case checks that the backend survives commands of length 0 on the wire, and changes nothing.

How: the protocol leaves the answer open ("behavior is unspecified"), so success, EINVAL and ENOSPC
are all right; what follows on the same connection must work as before.
Guards: zero-length-op, payload-not-drained.
"""

import errno

from qbdcheck.kit import case

ANSWERS = (0, errno.EINVAL, errno.ENOSPC)


@case(groups="rw quick protocol", requires="nbd")
def test(disk, nbd, log):
    with nbd(disk) as client:
        for command in (0, 1, 4, 5, 6):
            bit = {4: 5, 5: 10, 6: 6}.get(command)
            if bit is not None and not client.flags & 1 << bit:
                continue
            for offset in (0, 1, disk.size // 2, disk.size):
                error = client.receive_reply(client.send_request(command, offset, 0)).error
                log(f"command {command}, length 0 at {offset}: {error}")
                assert error in ANSWERS, f"command {command} at {offset}: errno {error}"
                data = client.read(offset // 2, 512)
                findings = disk.shadow.check(offset // 2, data)
                assert not findings, "\n".join(map(str, findings))
    disk.verify()

"""This case checks that the backend itself refuses requests beyond its end.

How: QEMU never sends such requests, so a raw client does: each reading and writing command at,
across and far behind the end, also where offset + length overflows. The connection stays usable,
every sector stays the same.
Guards: oob-past-end, offset-len-overflow, error-kills-connection.
"""

import errno

from qbdcheck.kit import case

EXPECTED = {errno.EINVAL, errno.ENOSPC, errno.EIO}


@case(groups="rw quick errors protocol", requires="nbd")
def test(disk, nbd, log):
    far = (1 << 64) - 512
    with nbd(disk) as client:
        commands = {"read": 0, "write": 1}
        commands |= {"trim": 4} if client.flags & 1 << 5 else {}
        commands |= {"write_zeroes": 6} if client.flags & 1 << 6 else {}
        for name, command in commands.items():
            for offset in (disk.size, disk.size - 1, disk.size + 4096, 1 << 62, 1 << 63, far):
                payload = b"\xee" * 512 if name == "write" else b""
                cookie = client.send_request(command, offset, 512, payload=payload)
                error = client.receive_reply(cookie).error
                log(f"{name} 512 at {offset}: {errno.errorcode.get(error, error)}")
                assert error in EXPECTED, f"{name} of 512 bytes at {offset} gave errno {error}"
        findings = disk.shadow.check(0, client.read(0, disk.size))
        assert not findings, "\n".join(map(str, findings))
    disk.verify()

"""This case checks that a volume of 0 bytes can be made, opened, and refuses every byte.

How: on the wire the size is 0, reads and writes fail, flush and the connection live; then grow it
where the target can, and use it.
Guards: zero-length-op, oob-past-end, size-rounded-up.
"""

import errno

from qbdcheck.kit import case


@case(groups="size quick protocol", requires="nbd raw_size")
def test(new_disk, nbd, target, qemu_io):
    disk = new_disk(0, prefill=False)
    with nbd(disk) as client:
        assert client.size == 0
        reply = client.receive_reply(client.send_request(0, 0, 1))
        assert reply.error == errno.EINVAL, f"read: errno {reply.error}"
        reply = client.receive_reply(client.send_request(1, 0, 1, payload=b"x"))
        assert reply.error in (errno.ENOSPC, errno.EINVAL), f"write: errno {reply.error}"
        if "flush" in target.capabilities:
            client.flush()
    if "resize" in target.capabilities:
        disk.resize(65536)
        with qemu_io(disk) as io:
            io.write(61440, 4096)
        disk.verify()

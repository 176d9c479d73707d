"""This case checks that a daemon survives messages that no front end should send.

How: queues that do not exist, sizes that are no power of two, rings outside of the memory, a table
of memory without memory, requests that do not exist, a configuration of 2 GiB. The daemon may
refuse the message or end the connection. It must then serve a new front end, and the disk is
unchanged.
Guards: virtio-queue-index-unchecked.
"""

import contextlib

from qbdcheck.kit import case
from qbdcheck.kit.virtio_blk import Code, MessageError, connect, serves

FAR = (1 << 31).to_bytes(4, "little")
ZERO, ONE = bytes(4), (1).to_bytes(4, "little")
MESSAGES = (
    ("queue 5000 of 16 descriptors", Code.SET_VRING_NUM, b"\x88\x13\0\0" + b"\x10\0\0\0"),
    ("queue 2^31 of 16 descriptors", Code.SET_VRING_NUM, FAR + b"\x10\0\0\0"),
    ("a queue of 2^31 descriptors", Code.SET_VRING_NUM, ZERO + FAR),
    ("a queue of 3 descriptors", Code.SET_VRING_NUM, ZERO + b"\3\0\0\0"),
    ("rings outside of the memory", Code.SET_VRING_ADDR, bytes(8) + b"\1" * 32),
    ("a queue that is enabled without a ring", Code.SET_VRING_ENABLE, ZERO + ONE),
    ("a table of memory without memory", Code.SET_MEM_TABLE, b"\10" + bytes(7)),
    ("a request that does not exist", 250, b"\1" * 64),
)


@case(
    groups="errors hostile",
    requires="vhost_user",
    basis="POLICY: clients-do-not-disturb-each-other",
)
def test(disk):
    for what, code, payload in MESSAGES:
        front_end = connect(disk)
        with contextlib.suppress(MessageError):
            front_end.send(code, payload)
        front_end.close()
        assert serves(disk), f"a new front end is not served after the message: {what}"
    front_end = connect(disk)
    with contextlib.suppress(MessageError):
        front_end.ask(Code.GET_CONFIG, ZERO + FAR + ZERO)
    front_end.close()
    assert serves(disk), "a new front end is not served after a request for 2 GiB of configuration"
    disk.verify()

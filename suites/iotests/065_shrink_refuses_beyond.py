"""This case checks that after shrinking nothing behind the new end can be read or written.

How: on the wire, right behind the new end and at the old one; what is left must be untouched.
Guards: oob-past-end, resize-not-notified, size-change-across-reconnect.
"""

from qbdcheck.kit import case


@case(groups="size quick protocol", requires="nbd resize")
def test(new_disk, nbd):
    disk = new_disk("4M")
    disk.resize(2 << 20)
    with nbd(disk) as client:
        assert client.size == 2 << 20, f"the size is {client.size}"
        for offset in (2 << 20, (2 << 20) - 256, (4 << 20) - 512):
            assert client.receive_reply(client.send_request(0, offset, 512)).error
            sent = client.send_request(1, offset, 512, payload=bytes(512))
            assert client.receive_reply(sent).error, f"a write at {offset} succeeded"
    disk.verify()

"""This case checks that a part of the configuration is what it is in the whole.

How: the configuration is read as a whole, and then from each offset on, with lengths of 1 to 8
bytes and up to the end. A message asks for a range of bytes, and its answer names the same range.
Guards: virtio-configuration-from-0.
"""

from qbdcheck.kit import case
from qbdcheck.kit.virtio_blk import CONFIG_BYTES, connect

LENGTHS = (1, 2, 4, 8)


@case(
    groups="rw quick",
    requires="vhost_user",
    basis="MUST: QEMU, interop/vhost-user",
)
def test(disk):
    front_end = connect(disk)
    whole = front_end.part_of_config(0, CONFIG_BYTES)
    for offset in range(CONFIG_BYTES):
        rest = CONFIG_BYTES - offset
        for length in [one for one in LENGTHS if one < rest] + [rest]:
            part = front_end.part_of_config(offset, length)
            wanted = whole[offset : offset + length]
            assert part == wanted, (
                f"GET_CONFIG of {length} bytes at {offset}: {part.hex()}, and the whole "
                f"configuration has {wanted.hex()} there"
            )
    front_end.close()
    disk.verify()

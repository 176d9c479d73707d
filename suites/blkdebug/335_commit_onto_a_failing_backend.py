"""This case checks that a commit whose base fails at any write loses nothing and can be done again.

How: the backend of the base fails each write of a commit in turn; after each the chain still has
all data, and a commit in the end brings it into the base.
Guards: async-error-ignored, clone-copyup-lost, close-error-lost.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, over


@case(groups="inject errors commit backing", requires="nbd")
def test(disk, new_disk, qemu_io, qemu_img, schedule):
    top = new_disk(disk.size, prefill=False, format="qcow2")
    top.create_image(disk.size, "cluster_size=65536")
    chain = over("qcow2", top.protocol_blockdev(), None) | {"backing": disk.blockdev()}
    places = range(100_000, disk.size - 70_000, 2_000_000)
    with qemu_io(json_filename(chain), shadow=disk.shadow) as io:
        for at in places:
            io.write(at, 66_000)
    for turn in schedule.sweep({"event": "write_aio", "errno": "EIO", "iotype": "write"}):
        done = qemu_img.run("commit", "-d", json_filename(chain), check=False)
        assert done.returncode == int(turn.fired), (turn.number, done.stderr)
        if turn.fired:
            assert "Input/output error" in done.stderr, done.stderr
            with qemu_io(json_filename(chain), read_only=True, shadow=disk.shadow) as io:
                for at in places:
                    io.read(at - 1000, 68_000)
    assert turn.number > 2
    disk.verify()

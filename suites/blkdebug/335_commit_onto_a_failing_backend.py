"""This case checks that a commit whose base fails at any write loses nothing and can be repeated.

How: the backend of the base fails each write of a commit in turn. After each the chain must still
have all data. A commit at the end must bring it into the base.
Guards: async-error-ignored, close-error-lost.
Related: clone-copyup-lost.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.expectations import expect_equal, expect_in


@case(groups="inject errors commit backing", requires="nbd", basis="MUST: QAPI, block-commit")
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
        expect_equal(done.returncode, int(turn.fired), f"write {turn.number}, commit: exit status")
        if turn.fired:
            expect_in(
                "Input/output error", done.stderr, f"write {turn.number} fails: qemu-img commit"
            )
            with qemu_io(json_filename(chain), read_only=True, shadow=disk.shadow) as io:
                for at in places:
                    io.read(at - 1000, 68_000)
    assert turn.number > 2, f"expected more than 2 runs, got {turn.number}"
    disk.verify()

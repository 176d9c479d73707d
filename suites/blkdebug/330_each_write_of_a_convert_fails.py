"""This case checks that a convert reports any one failed write, and the next convert is right.

How: the backend fails the 1st write of a convert, in the next run the 2nd, and so on until a run is
clean. Each failed run must report it, and leave only old or new data.
Guards: async-error-ignored, close-error-lost, error-kills-connection.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_in


@case(groups="inject errors convert", requires="nbd", basis="MUST: qemu-img(1), convert")
def test(disk, new_disk, qemu_img, schedule):
    source = new_disk("8M")
    data = source.shadow.expected(0, source.size)
    for turn in schedule.sweep({"event": "write_aio", "errno": "ENOSPC", "iotype": "write"}):
        done = qemu_img.run(
            "convert", "-n", "-O", disk.format, source.filename, disk.filename, check=False
        )
        if turn.fired:
            assert done.returncode == 1, (
                f"write {turn.number} failed: expected exit status 1, got {done.returncode}"
            )
            expect_in(
                "No space left on device",
                done.stderr,
                f"write {turn.number} fails: qemu-img convert",
            )
            disk.shadow.maybe_write(0, data)
        else:
            assert done.returncode == 0, f"qemu-img convert without an error: {done.stderr}"
            disk.shadow.write(0, data)
    assert turn.number > 2, f"expected more than 2 runs, got {turn.number}"
    disk.verify()

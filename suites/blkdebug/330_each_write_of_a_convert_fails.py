"""This case checks that a convert tells of any one failed write, and that the next one is right.

How: the backend fails the 1st write of a convert, in the next run the 2nd, and so on until a run is
clean; each failed run must say so, and leave nothing but old or new data.
Guards: async-error-ignored, close-error-lost, error-kills-connection.
"""

from qbdcheck.kit import case


@case(groups="inject errors convert", requires="nbd")
def test(disk, new_disk, qemu_img, schedule):
    source = new_disk("8M")
    data = source.shadow.expected(0, source.size)
    for turn in schedule.sweep({"event": "write_aio", "errno": "ENOSPC", "iotype": "write"}):
        done = qemu_img.run(
            "convert", "-n", "-O", disk.format, source.filename, disk.filename, check=False
        )
        if turn.fired:
            assert done.returncode == 1, "a write failed, and convert says nothing"
            assert "No space left on device" in done.stderr, done.stderr
            disk.shadow.maybe_write(0, data)
        else:
            assert done.returncode == 0, done.stderr
            disk.shadow.write(0, data)
    assert turn.number > 2
    disk.verify()

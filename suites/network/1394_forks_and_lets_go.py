"""This case checks that `qemu-nbd --fork` returns once it serves, and keeps nothing of its caller.

How: when it returns, the server in the background must not have the output of its caller open: ssh,
and scripts that read the output to its end, would wait for the server. A client is served at once,
and the server ends by SIGTERM.
Related: descriptor-leak.
"""

import os
from pathlib import Path
from signal import SIGTERM

from qbdcheck.kit import Limit, case, pause
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.expectations import expect_equal

LIMIT_S = 8.0


@case(groups="export", programs="qemu-nbd", basis="MUST: QEMU, qemu-nbd --fork")
def test(disk, run, scratch, nbd_io, qemu_img):
    socket, pid, output = (scratch / name for name in ("socket", "pid", "output"))
    arguments = [f"--socket={socket}", f"--pid-file={pid}", json_filename(disk.blockdev())]
    arguments += [f"--object={text}" for text in qemu_img.objects]  # a target's credentials
    command = 'output="$1"; shift; qemu-nbd --fork --persistent "$@" > "$output" 2>&1'
    run(["sh", "-c", command, "sh", str(output), *arguments])
    server = int(pid.read_text())
    try:
        descriptors = Path(f"/proc/{server}/fd").iterdir()
        kept = [one.name for one in descriptors if one.readlink() == output]
        expect_equal(kept, [], "the descriptors of the server for the output of its caller")
        expect_equal(output.read_text(), "", "the output of qemu-nbd --fork")
        with nbd_io(f"nbd+unix:///?socket={socket}", shadow=disk.shadow) as io:
            io.read(0, 65536)
            io.write(4096, 8192)
            io.flush()
    finally:
        os.kill(server, SIGTERM)
    limit = Limit(LIMIT_S)
    while socket.exists():
        assert not limit.is_over, "qemu-nbd still has its socket after SIGTERM"
        pause(0.01)
    disk.verify()

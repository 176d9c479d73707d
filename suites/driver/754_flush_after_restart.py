"""This case checks that a flush does not hide that the backend has lost writes in a restart.

How: QEMU writes, and the backend dies by SIGKILL and starts again before the flush. The driver may
connect again. But then a flush that succeeds means that the writes are durable: if the backend has
lost them with its cache, the flush must fail. Data is judged after a second kill.
Guards: flush-noop, flush-per-connection.
"""

from qbdcheck.kit import case
from qbdcheck.kit.own_driver import own_driver


@case(groups="flush crash", requires="flush kill", limit_s=60)
def test(disk, qemu_io, not_run, log):
    own_driver(disk)
    io = qemu_io(disk)
    io.write(0, 65536)
    io.flush()
    for number in range(8):
        io.write(65536 * number, 40_000)
    disk.backend.kill()
    disk.backend.start()
    answer = io("read 4M 4k")
    if "failed" in answer:
        not_run(f"the driver does not connect again: {answer.strip()}")
    failed = "failed" in io("flush")
    log("flush", "failed" if failed else "succeeded")
    disk.backend.kill()
    io.abandon()
    if not failed:
        disk.shadow.flush()
    disk.shadow.power_cut()
    disk.backend.start()
    disk.verify()

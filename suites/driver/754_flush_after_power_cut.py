"""This case checks that a flush does not hide that the backend has lost writes in between.

How: QEMU writes 64 times, the power of the backend is cut, and QEMU flushes. The driver may connect
again. But then a flush that succeeds means that all earlier writes are durable: if the backend has
lost some with its cache, the flush must fail.
Guards: flush-noop, flush-error-once.
"""

from qbdcheck.kit import CaseBroken, ProgramError, case

COUNT, STEP = 64, 65536


@case(
    groups="flush crash",
    requires="own_driver flush crash",
    limit_s=60,
    basis="MUST: NBD, NBD_CMD_FLUSH",
)
def test(disk, qemu_io, seed, log):
    io = qemu_io(disk)
    for number in range(COUNT):
        io.write(number * STEP, 4096)
    written = [disk.shadow.expected(number * STEP, 4096) for number in range(COUNT)]
    disk.backend.crash(seed=seed)
    try:
        io("flush")
        io.close()
        failed = False
    except ProgramError as error:
        log(f"the flush failed: {error}")
        failed = True
    disk.verify()
    data = disk.read_all().tobytes()
    lost = [at for at in range(COUNT) if data[at * STEP : at * STEP + 4096] != written[at]]
    if not lost:
        raise CaseBroken("the power cut has lost no write")
    assert failed, f"the flush succeeded, but {len(lost)} of {COUNT} earlier writes are lost"

"""This case checks that a quorum serves without one of three children, and not without two.

How: the server of a child is killed while requests are in flight. Writes, reads and flushes still
succeed. Then a second one is killed: each request fails, and no read returns data. The survivor has
all that was acknowledged. A child that comes back old is outvoted.
Guards: stale-replica-after-failover, async-error-ignored.
"""

from qbdcheck.kit import IoFailed, ProgramError, case
from qbdcheck.kit.expectations import expect_failure
from qbdcheck.kit.quorum import equal_disks, export_quorum

KIB = 1 << 10


@case(
    groups="cluster crash concurrent export",
    requires="kill",
    limit_s=120,
    basis="MUST: QAPI, BlockdevOptionsQuorum",
)
def test(new_disk, qemu_io, storage_daemon, seed):
    disks = equal_disks(new_disk)
    random = seed.stream("places")
    with storage_daemon() as qsd, qemu_io(export_quorum(qsd, disks), shadow=disks[2].shadow) as io:
        for _ in range(8):
            io.aio_write(random.randrange(250) * 4 * KIB, 4 * KIB)
        disks[0].backend.kill()
        io.drain()
        for _ in range(10):
            io.write(random.randrange(900) * KIB, random.choice((512, 5000, 64 * KIB)))
            io.read(random.randrange(900) * KIB, 64 * KIB)
        io.flush()
        bad = qsd.wait_event("QUORUM_REPORT_BAD")["data"]
        assert bad["node-name"] == "child0", f"QUORUM_REPORT_BAD: expected child0, got {bad}"
    disks[0].backend.start()
    with storage_daemon() as qsd, qemu_io(export_quorum(qsd, disks), shadow=disks[2].shadow) as io:
        io.read(0, 1 << 20)  # child0 misses the writes
    with storage_daemon() as qsd:
        io = qemu_io(export_quorum(qsd, disks), shadow=disks[2].shadow)
        io.read(0, 64 * KIB)
        disks[0].backend.kill()
        disks[1].backend.kill()
        with expect_failure(IoFailed, "a read with one of three children"):
            io.read(512 * KIB, 64 * KIB)
        with expect_failure(ProgramError, "a write with one of three children"):
            io.write(128 * KIB, 4 * KIB)
        io.abandon()
    disks[2].verify()

"""This case checks that mirror and backup copy a volume that is only read, while others read it.

How: a node that was opened read-only is the source of a mirror and of a full backup, with two
clients of an export that read meanwhile. Each copy must be identical to the volume.
Guards: last-block-overrun, short-read-resume-offset, unaligned-offset-rounded.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import node, over
from qbdcheck.kit.expectations import expect_content


@case(
    groups="job mirror backup export concurrent reading quick",
    basis=("MUST: QAPI, blockdev-mirror", "MUST: QAPI, blockdev-backup"),
)
def test(new_disk, qemu_io, storage_daemon, scratch, seed):
    disk, random = new_disk("4M"), seed.stream("places")
    for command, flush in (("blockdev-mirror", True), ("blockdev-backup", False)):
        copy = scratch / command
        with copy.open("wb") as file:
            file.truncate(disk.size)
        with storage_daemon() as qsd:
            source = qsd.add(disk.blockdev("source", read_only=True))
            target = qsd.add(over("raw", node("file", filename=str(copy)), "target"))
            uri = qsd.export(source, writable=False)
            with qemu_io(uri, read_only=True, shadow=disk.shadow) as io:
                qsd.qmp(command, job_id="job", device=source, target=target, sync="full",
                        auto_dismiss=False)  # fmt: skip
                for _ in range(8):
                    io.aio_read(random.randrange(disk.size - 100_000), 100_000)
                io.drain()
                if flush:
                    qsd.wait_event("BLOCK_JOB_READY", device="job")
                    qsd.qmp("job-complete", id="job")
                qsd.wait_job("job")
        expect_content(disk.shadow, 0, copy.read_bytes(), f"the copy of {command}")
    disk.verify()

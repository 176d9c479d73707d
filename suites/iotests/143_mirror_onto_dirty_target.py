"""This case checks that no old data of a target survives a full mirror or backup onto it.

How: the source has holes (never written, zeroed, discarded) where the prefilled target has stamps.
Both jobs run in turn, and each copy is compared byte for byte. Zeroes must read as zeroes.
Guards: false-zero-init, zero-via-nondeterministic-discard, write-zeroes-noop.
Related: status-hole-over-dirty.
"""

from qbdcheck.kit import case


@case(groups="job mirror backup zero status", basis="MUST: QAPI, blockdev-mirror")
def test(new_disk, qemu_io, storage_daemon):
    source = new_disk("4M", prefill=False)
    with qemu_io(source) as io:
        for offset in (0, (1 << 20) - 512, (2 << 20) + 8, (4 << 20) - 1):
            io.write(offset, 1)
        io.write(3 << 20, 256 << 10)
        io.write_zeroes((3 << 20) + 4096, 64 << 10, unmap=True)
        io.discard((3 << 20) + (128 << 10), 64 << 10)
    source.verify()
    for command in ("blockdev-mirror", "blockdev-backup"):
        target = new_disk("4M")
        with storage_daemon() as qsd:
            qsd.add(source.blockdev("source"))
            qsd.add(target.blockdev("target"))
            qsd.qmp(command, job_id="job", device="source", target="target", sync="full",
                    auto_dismiss=False)  # fmt: skip
            if command == "blockdev-mirror":
                qsd.wait_job("job", to="ready")
                qsd.qmp("block-job-complete", device="job")
            qsd.wait_job("job")
        target.shadow = source.shadow
        target.verify()

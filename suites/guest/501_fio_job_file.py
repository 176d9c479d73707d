"""This case checks that a job file with a [global] section runs in a guest as on a command line.

How: examples/talk.fio, the job file of the talk, with the disk named in [global].
Guards: phantom-write, misdirected-write.
"""

from pathlib import Path

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal

FILE = Path(__file__).resolve().parents[2] / "examples/talk.fio"


@case(
    groups="guest",
    programs="qemu-system-x86_64",
    limit_s=120,
    basis=("MUST: fio(1), verify", "MUST: NBD, NBD_CMD_READ"),
)
def test(new_disk, guest, fio, log):
    disk = new_disk("4M", prefill=False)
    result = fio(guest(disk))(file=FILE.read_text()).must_be_clean()
    log(*result.summary())
    (job,) = result.jobs
    expect_equal(job.name, "fio-4k", "the name of fio's job")
    done = job.write.bytes_done, job.read.bytes_done
    expect_equal(done, (disk.size, disk.size), "fio, bytes written and read back")

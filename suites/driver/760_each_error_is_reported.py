"""This case checks that the driver reports an error of each kind of request, with its errno.

How: the backend answers reads, writes, zeroes, discards and flushes with errors, one kind after the
other. QEMU must see each, and the next request of that kind must work.
Guards: async-error-ignored, flush-error-swallowed, errno-collapsed, error-kills-connection.
"""

from qbdcheck.kit import ProgramError, case
from qbdcheck.kit.expectations import expect_failure

REQUESTS = (
    ("read", "read_aio", "read 0 4096", "EIO", "Input/output error"),
    ("write", "write_aio", "write -P 1 0 4096", "ENOSPC", "No space left on device"),
    ("write", "write_aio", "write -f -P 1 0 4096", "EPERM", "Operation not permitted"),
    ("write-zeroes", "pwritev_zero", "write -z 8192 4096", "ENOSPC", "No space left on device"),
    ("discard", "none", "discard 16384 4096", "EIO", "Input/output error"),
)


@case(
    groups="errors",
    requires="own_driver control flush discard write_zeroes fua",
    limit_s=30,
    basis="MUST: NBD, Error values",
)
def test(new_disk, rules, qemu_io, log):
    disk = new_disk("1M", prefill=False)
    armed = rules.on(disk)
    for iotype, event, command, name, text in REQUESTS:
        fault = armed.add({"event": event, "iotype": iotype, "errno": name})
        with qemu_io(disk) as io:
            answer = io(command)
            log(command, answer.strip())
            assert text in answer, f"{command}: expected {text}, got {answer.strip()!r}"
            armed.remove(fault)
            assert "failed" not in io(command), f"{command} fails without a fault"
    fault = armed.add({"event": "flush_to_disk", "iotype": "flush", "errno": "EIO"})
    io = qemu_io(disk)
    io("write -P 2 0 4096")
    with expect_failure(ProgramError, "a flush that the backend refuses"):
        io("flush")
        io.close()
    armed.remove(fault)

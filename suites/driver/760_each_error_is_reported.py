"""This case checks that the driver reports an error of each kind of request, with its errno.

How: the backend answers reads, writes, zeroes, discards and flushes with errors, one kind after the
other. QEMU must see each, and the next request of that kind must work. Zeroes and discards may not
reach the backend: QEMU replaces what a driver lacks.
Guards: async-error-ignored, flush-error-swallowed, errno-collapsed, error-kills-connection.
"""

from qbdcheck.kit import ProgramError, case
from qbdcheck.kit.expectations import expect_failure

OPTIONAL = ("write-zeroes", "discard")
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
        rule = {"event": event, "iotype": iotype, "errno": name}
        fault = armed.add({**rule, "may_not_fire": iotype in OPTIONAL})
        with qemu_io(disk) as io:
            answer = io(command)
            log(command, answer.strip())
            reached = bool(armed.seen(fault).fired)
            if not reached and iotype in OPTIONAL:
                log(f"no {iotype} request reaches the backend")
                assert "failed" not in answer, f"{command}: {answer.strip()}"
            else:
                how = "answered" if reached else "never got the request, to be answered with"
                assert text in answer, (
                    f"{command}: the backend {how} {name}, and the driver says {answer.strip()!r}"
                )
            armed.remove(fault)
            assert "failed" not in io(command), f"{command} fails without a fault"
    fault = armed.add({"event": "flush_to_disk", "iotype": "flush", "errno": "EIO"})
    io = qemu_io(disk)
    io("write -P 2 0 4096")
    with expect_failure(ProgramError, "a flush that the backend refuses"):
        io("flush")
        io.close()
    armed.remove(fault)

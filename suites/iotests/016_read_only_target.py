"""This case checks that a backend started read-only advertises it, and refuses every change on the
wire.

How: the READ_ONLY flag must be set. A raw client sends changes nevertheless. Each must fail, the
data must stay, and the connection must stay usable.
Guards: unadvertised-command-executed.
Related: capability-bit-collision.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import errno_name, expect_zeroes
from qbdcheck.kit.nbd import Command, TransmissionFlag
from qbdcheck.kit.nbd_requests import block_sizes, is_offered, request_name


@case(
    groups="rw quick protocol",
    requires="nbd read_only",
    basis=("MUST: NBD, Transmission flags", "POLICY: refused-request-changes-nothing"),
)
def test(new_disk, nbd, nbd_io, log):
    disk = new_disk(prefill=False, read_only=True)
    with nbd(disk) as client:
        flags = f"the READ_ONLY flag is not set: {int(client.flags):#x}"
        assert client.flags & TransmissionFlag.READ_ONLY, flags
        length = max(512, block_sizes(client).minimum)
        for command in (Command.WRITE, Command.TRIM, Command.WRITE_ZEROES):
            payload = b"\xee" * length if command == Command.WRITE else b""
            # A client MUST NOT send what is not offered: the server may close the connection.
            may_close = not is_offered(client, command)
            with nbd_io(disk) as io:
                error = io.must_refuse(command, 65536, length, data=payload, may_close=may_close)
            log(f"{request_name(command, 65536, length)}: {errno_name(error)}")
        expect_zeroes(client.read(0, 128 << 10), "a fresh volume after refused changes")
    disk.verify()

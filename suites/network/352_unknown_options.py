"""This case checks that a server refuses each unknown option and skips its data.

How: option numbers beyond those of the NBD document, with 0 to 4096 bytes of data. Each reply must
be ERR_UNSUP ("MUST", Option types). The handshake then continues to a read of the right data.
Related: payload-not-drained, probe-or-abort-kills-server.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd_io import NbdIo
from qbdcheck.kit.nbd_probe import enter_transmission, negotiating, option_result


@case(
    groups="protocol quick",
    requires="nbd",
    basis=("MUST: NBD, Fixed newstyle negotiation", "MUST: NBD, Option reply types"),
)
def test(disk):
    with negotiating(disk) as client:
        for number in (12, 99, 0x7FFFFFFF, 0x80000001, 0xFFFFFFFF):
            for length in (0, 1, 4096):
                result = option_result(client, number, b"\xa5" * length)
                assert result == "ERR_UNSUP", (
                    f"option {number:#x} with {length} bytes of data: {result}, not ERR_UNSUP"
                )
        enter_transmission(client, disk)
        NbdIo(client, disk.shadow, sizes=disk.backend.sizes).read(4096, 4096)

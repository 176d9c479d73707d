"""This case checks that after an error of each kind of request an export serves the next one.

How: a raw client with simple replies over a node that fails each kind of request at one sector with
its own errno. Each errno must arrive, the connection must stay usable, and other requests must be
done.
Guards: error-kills-connection, errno-collapsed, payload-not-drained.
"""

from errno import EIO, ENOMEM, ENOSPC, EPERM

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.expectations import expect_failure, expect_result, expect_same
from qbdcheck.kit.nbd import NbdError
from qbdcheck.kit.nbd_requests import write_stamped

AT = 64 << 10
NUMBERS = {"read": ENOMEM, "write": ENOSPC, "write-zeroes": EIO, "discard": EPERM}


@case(groups="inject errors export protocol quick")
def test(new_disk, nbd, storage_daemon):
    disk = new_disk("512k")
    rules = [error(number=number, iotype=kind, sector=128) for kind, number in NUMBERS.items()]
    with storage_daemon() as qsd:
        qsd.add(blkdebug(disk.protocol_blockdev(), *rules, node_name="disk", discard="unmap"))
        client = nbd(qsd.export("disk"), structured=False)
        requests = {
            "read": lambda at: client.read(at, 4096),
            "write": lambda at: client.write(at, disk.shadow.stamped(at, 4096)),
            "write-zeroes": lambda at: client.write_zeroes(at, 4096),
            "discard": lambda at: client.trim(at, 4096),
        }
        for _ in range(3):
            for kind, request in requests.items():
                with expect_failure(NbdError, f"{kind} of 4096 bytes at {AT}") as failed:
                    request(AT)
                expect_result(failed.value.errno, NUMBERS[kind], f"{kind} of 4096 bytes at {AT}")
                expect_same(
                    client.read(0, 4096),
                    disk.shadow.expected(0, 4096),
                    "READ of 4096 bytes at offset 0",
                )
        write_stamped(client, disk.shadow, 2 * AT, 4096)
        client.flush()
        client.close()
    disk.verify()

"""This case checks that qbd: names parse as documented, and name the same volume as NBD URIs.

How: the golden contains the options of good names and the errors of bad ones. Then a volume is
created and written through QbdDriver by its qbd: name, read and written by QEMU under its NBD URI,
and read by QbdDriver again.
Related: wrong-volume-or-lun, acl-prefix-match.
"""

from threading import Event
from urllib.parse import quote

from oracles.shadow import Shadow
from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal, expect_same
from qbdcheck.kit.reference import MemoryPool, QbdDriver, Server

GOOD = (
    "qbd:pool/vol",
    "qbd:pool/vol@snap",
    "qbd:pool/vol:read-only=on",
    "qbd:pool/vol:logical_block_size=512:physical_block_size=4096",
    "qbd:p\u00f6\u00f6l/vol 1",
    r"qbd:pool/a\:b\@c",
)
BAD = ("", "qbd:", "rbd:pool/vol", "qbd:vol", "qbd:/vol", "qbd:pool/", "qbd:pool/vol@",
       "qbd:pool/vol:read-only", "qbd:pool/vol:bogus=1", "qbd:pool/vol:read-only=perhaps",
       "qbd:pool/vol:logical_block_size=1000")  # fmt: skip
NAME = "qbd:pool/caf\u00e9 1"


@case(groups="names errors quick", basis="MUST: qbdcheck, docs/kit.md")
def test(qemu_io, scratch, golden):
    for name in GOOD:
        golden(name, QbdDriver.parse_filename(name))
    for name in BAD:
        try:
            QbdDriver.parse_filename(name)
        except ValueError as error:
            golden(f"{name!r}: {error}")
        else:
            raise AssertionError(f"{name!r}: expected ValueError, got success")

    pool = MemoryPool()
    driver, shadow = QbdDriver(pool), Shadow(1 << 20)
    options = driver.parse_filename(NAME)
    expect_equal(driver.create(options, shadow.size), 0, "create")
    expect_equal(
        driver.create(driver.parse_filename("qbd:pool/caf"), shadow.size),
        0,
        "create of the second volume",
    )
    driver.file_open(options)
    server = Server(pool, str(scratch / "qbd"))
    server.start()
    try:
        expect_equal(driver.getlength(), shadow.size, "getlength")
        data = shadow.stamped(8 * 512, 4096)
        shadow.write(8 * 512, data)
        expect_equal(wait(driver.aio_writev, 8, [data[:1000], data[1000:]]), 0, "aio_writev")
        uri = f"nbd+unix:///{quote(options['volume'], safe='')}?socket={scratch / 'qbd'}"
        with qemu_io(uri, shadow=shadow) as io:
            io.read(0, 65536)
            io.write(16 * 512, 1024)
            io.flush()
        buffer = bytearray(12 * 512)
        expect_equal(wait(driver.aio_readv, 8, [buffer]), 0, "aio_readv")
        expect_same(
            bytes(buffer), shadow.expected(8 * 512, len(buffer)), "the data that aio_readv returns"
        )
    finally:
        driver.close()
        server.stop()
        pool.close()


def wait(call, sector, buffers):
    """Run one asynchronous request of the driver and return its result."""
    done, results = Event(), []
    call(sector, buffers, lambda result: (results.append(result), done.set()))
    assert done.wait(10), "no completion within 10 s"
    return results[0]

"""This case checks that the greeting and the reply to EXPORT_NAME have exactly the right bytes.

How: the greeting has 18 bytes and only flags of the NBD document. The reply to EXPORT_NAME has 10
bytes, and 124 zero bytes more unless both sides set NO_ZEROES. The next byte belongs to the reply
to a request.
Guards: handshake-length-off.
Related: size-rounded-down.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import INIT_MAGIC, OPTION_MAGIC
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_io import NbdIo
from qbdcheck.kit.nbd_probe import export_name, negotiating, oldest_refused

LENGTH = 4096


@case(
    groups="protocol",
    requires="nbd",
    basis=("MUST: NBD, Newstyle negotiation", "MUST: NBD, NBD_OPT_EXPORT_NAME"),
)
def test(disk, not_run):
    with negotiating(disk, client_flags=None) as client:
        flags = client.handshake_flags
        assert not flags & ~3, f"handshake flags {flags:#x}, the NBD document has bits 0 and 1"
    magic = m.GREETING.pack(INIT_MAGIC, OPTION_MAGIC, 0)[:16]
    assert magic == b"NBDMAGICIHAVEOPT", f"the magic of the greeting is {magic!r}"
    if reason := oldest_refused(disk):
        not_run(reason)
        return
    for flags in (0, 1, 2, 3):
        with negotiating(disk, client_flags=flags) as client:
            no_zeroes = bool(flags & client.handshake_flags & 2)
            client.send_option(1, export_name(disk).encode())
            try:
                size, _flags = m.EXPORT.unpack(client.receive(m.EXPORT.size))
            except ConnectionError as error:  # the flags are a SHOULD for clients
                raise AssertionError(
                    f"to a client with the client flags {flags}: {error}"
                ) from None
            assert size == disk.size, f"EXPORT_NAME gives {size} bytes, expected {disk.size}"
            if not no_zeroes:
                reserved = client.receive(124)
                assert not any(reserved), f"client flags {flags}: reserved bytes {reserved.hex()}"
            NbdIo(client, disk.shadow, sizes=disk.backend.sizes).read(0, LENGTH)

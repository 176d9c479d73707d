"""This case checks that the greeting and the reply to EXPORT_NAME have exactly their bytes.

How: 18 bytes of greeting, no bit that the NBD document does not know; EXPORT_NAME is answered by 10
bytes, and 124 zeroes unless both sides said NO_ZEROES; the next byte is the reply to a request.
Guards: handshake-length-off, size-rounded-down.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import INIT_MAGIC, OPTION_MAGIC
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import export_of, haggling


@case(groups="protocol", requires="nbd")
def test(disk):
    with haggling(disk, client_flags=None) as client:
        assert not client.handshake_flags & ~3, f"flags {client.handshake_flags:#x}"
        assert client.handshake_flags & 1, "not fixed newstyle"
    assert m.GREETING.pack(INIT_MAGIC, OPTION_MAGIC, 0)[:16] == b"NBDMAGICIHAVEOPT"
    expected = disk.shadow.expected(0, 512)
    for flags in (0, 1, 2, 3):
        with haggling(disk, client_flags=flags) as client:
            no_zeroes = bool(flags & client.handshake_flags & 2)
            client.send_option(1, export_of(disk).encode())
            size, _flags = m.EXPORT.unpack(client.receive(m.EXPORT.size))
            assert size == disk.size
            if not no_zeroes:
                assert client.receive(124) == bytes(124), "the reserved bytes are not zero"
            assert bytes(client.read(0, 512)) == expected

"""This case checks that options that claim to be huge, or are, cost the server next to nothing.

How: options of up to 4 GiB that 24 clients claim or begin at once; names, queries and lists
of every length, lengths within that lie. The server refuses or hangs up, its memory stays within
64 MiB, and a fresh client is served meanwhile.
Guards: huge-option-read, handshake-length-off, long-name-smash.
"""

import contextlib
import struct

from qbdcheck.kit import case
from qbdcheck.kit.footprint import footprint
from qbdcheck.kit.nbd import OPTION_MAGIC, Option
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import is_serving, negotiating

CLAIMS = (1 << 20, 32 << 20, 1 << 30, (1 << 32) - 1)
MEMORY = 64 << 20
NUMBERS = (Option.LIST, Option.INFO, Option.GO, Option.SET_META_CONTEXT, Option.EXPORT_NAME, 99)


def malformed():
    """Give options whose inner lengths lie, or that are as long as they may be."""
    name = m.string("x" * 4096)
    yield Option.GO, m.string("x" * 4096)
    yield Option.GO, m.string("x" * 100_000) + bytes(2)
    yield Option.GO, m.U32.pack(0xFFFFFFFF) + b"x" * 100
    yield Option.GO, name + struct.pack(">H", 65535) + bytes(10)
    yield Option.INFO, name + struct.pack(">H65535H", 65535, *range(65535))
    yield Option.SET_META_CONTEXT, name + m.U32.pack(0xFFFFFFFF)
    yield Option.SET_META_CONTEXT, name + m.U32.pack(20_000) + m.string("") * 20_000
    yield Option.LIST_META_CONTEXT, name + m.U32.pack(100) + m.string("q" * 4096) * 100
    yield Option.EXPORT_NAME, b"x" * 100_000


@case(groups="protocol hostile", requires="nbd")
def test(disk):
    assert is_serving(disk)
    before = footprint(disk.backend)
    with contextlib.ExitStack() as clients:
        for length in CLAIMS:
            for number in NUMBERS:
                assert is_serving(disk), (
                    f"after an option that claims {length} bytes nobody is served"
                )
                client = clients.enter_context(negotiating(disk))
                with contextlib.suppress(OSError):
                    client.send(m.OPTION.pack(OPTION_MAGIC, number, length) + bytes(65536))
        assert is_serving(disk), "a fresh client is not served beside huge options"
        during = footprint(disk.backend)
        assert during.memory - before.memory < MEMORY, f"before {before}, now {during}"
    for number, data in malformed():
        with negotiating(disk) as client, contextlib.suppress(OSError):
            client.send_option(number, data)
            client.sock.settimeout(0.5)
            client.sock.recv(20)
        assert is_serving(disk), f"after option {number} of {len(data)} bytes nobody is served"
    after = footprint(disk.backend)
    assert after.memory - before.memory < MEMORY, f"before {before}, afterwards {after}"
    disk.verify()

"""This case checks that options that are huge, or claim to be, cost the server little memory.

How: 24 clients start options with a claimed length of up to 4 GiB at once; names, queries and lists
of every length, with wrong inner lengths. The server refuses them or closes. Its memory grows by at
most 64 MiB, and a new client is served meanwhile.
Guards: huge-option-read.
Related: handshake-length-off, long-name-smash.
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
    """Yield options with wrong inner lengths, or of the largest legal length."""
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


@case(groups="protocol hostile", requires="nbd", basis="POLICY: clients-do-not-disturb-each-other")
def test(disk):
    assert is_serving(disk), "a new client is not served at the start"
    before = footprint(disk.backend)
    with contextlib.ExitStack() as clients:
        for length in CLAIMS:
            for number in NUMBERS:
                assert is_serving(disk), (
                    f"a new client is not served after an option of {length} bytes"
                )
                client = clients.enter_context(negotiating(disk))
                with contextlib.suppress(OSError):
                    client.send(m.OPTION.pack(OPTION_MAGIC, number, length) + bytes(65536))
        assert is_serving(disk), "a new client is not served during huge options"
        during = footprint(disk.backend)
        assert during.memory - before.memory < MEMORY, (
            f"too much memory: {before} before, {during} now"
        )
    for number, data in malformed():
        with negotiating(disk) as client, contextlib.suppress(OSError):
            client.send_option(number, data)
            client.sock.settimeout(0.5)
            client.sock.recv(20)
        assert is_serving(disk), (
            f"a new client is not served after option {number} of {len(data)} bytes"
        )
    after = footprint(disk.backend)
    assert after.memory - before.memory < MEMORY, f"too much memory: {before} before, {after} after"
    disk.verify()

"""This case checks that QEMU refuses an invalid greeting, and accepts all forms of a valid one.

How: a server changes one field of its greeting, or of the reply to EXPORT_NAME; QEMU opens and
reads. QEMU must not crash or hang, and what it opens must give the right data.
Related: handshake-length-off.
"""

from qbdcheck.kit import case
from qbdcheck.kit.hostile_server import Lie
from qbdcheck.kit.nbd import U16, U64

OLDSTYLE_MAGIC = 0x420281861253
GREETINGS = [
    ("NBDMAGIC with a NUL", {"greeting.magic": b"NBDMAGI\0"}, "refused"),
    ("NBDMAGIC in the wrong byte order", {"greeting.magic": b"CIGAMDBN"}, "refused"),
    ("no option magic", {"greeting.option-magic": U64.pack(0)}, "refused"),
    ("the magic of oldstyle", {"greeting.option-magic": U64.pack(OLDSTYLE_MAGIC)}, "refused"),
    ("an HTTP server", {"greeting.magic": b"HTTP/1.1"}, "refused"),
    ("all known flags", {"greeting.flags": U16.pack(3)}, "ok; ok"),
    ("no NO_ZEROES", {"greeting.flags": U16.pack(1)}, "ok; ok"),
    ("newstyle that is not fixed", {"greeting.flags": U16.pack(0)}, "ok; ok"),
    ("not fixed, but NO_ZEROES", {"greeting.flags": U16.pack(2)}, "ok; ok"),
    ("all flags", {"greeting.flags": U16.pack(0xFFFF)}, "ok; ok"),
]
UNFIXED = {"greeting.flags": U16.pack(0)}


@case(
    groups="hostile protocol quick",
    basis=("MUST: NBD, Newstyle negotiation", "POLICY: qemu-survives-any-server"),
)
def test(hostile):
    for what, fields, expected in GREETINGS:
        seen = hostile.sees(Lie(fields), hostile.READ, hostile.READ)
        assert seen == expected, f"{what}: expected {expected}, seen {seen}"
    for field in ("name.size", "name.flags", "name.zeroes"):
        for length in (0, 1):
            seen = hostile.sees(Lie(UNFIXED, cut=(field, length)), hostile.READ)
            assert seen == "refused", (
                f"closed after {length} bytes of {field}: expected refused, seen {seen}"
            )

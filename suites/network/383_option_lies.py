"""This case checks that QEMU refuses a server that answers options wrongly.

How: each field of each option reply is changed. Most changes must be refused; some are legal ways
to decline, and the export must then work. QEMU must not crash or hang.
Related: handshake-length-off.
"""

from qbdcheck.kit import case
from qbdcheck.kit.hostile_messages import CONTEXT
from qbdcheck.kit.hostile_server import Lie
from qbdcheck.kit.nbd import U32, U64, OptionReply

ANSWERS = ("structured", "context", "context-ack", "export", "blocks", "go")
LIES = {
    "magic": [U64.pack(0), U64.pack(0x3E889045565AA)],
    "option": [U32.pack(0), U32.pack(3), U32.pack(0xFFFFFFFF)],
    "type": [U32.pack(OptionReply.SERVER), U32.pack(0x77)],
    "length": [U32.pack(0xFFFFFFFF), U32.pack(0x80000000)],
}
NAMES_OF_CONTEXTS = [b"", b"base", b"base:bogus", b"x" * 4097]
NO = (OptionReply.ERR_UNSUP, OptionReply.ERR_POLICY, OptionReply.ERR_INVALID, 0x80000077)


@case(
    groups="hostile protocol quick",
    basis=("MUST: NBD, Option reply types", "POLICY: qemu-survives-any-server"),
)
def test(hostile):
    for answer in ANSWERS:
        for field, values in LIES.items():
            for value in values:
                # closed, because both sides would wait for bytes
                lie = Lie({f"{answer}.{field}": value}, close_after=f"{answer}.data")
                seen = hostile.sees(lie, hostile.READ)
                assert seen == "refused", (
                    f"{answer}.{field} = {value.hex()}: expected refused, seen {seen}"
                )
    for name in NAMES_OF_CONTEXTS:
        length = U32.pack(4 + len(name))
        fields = {"context.data": U32.pack(CONTEXT) + name, "context.length": length}
        seen = hostile.sees(Lie(fields), hostile.READ)
        assert seen == "refused", f"a context named {name[:20]!r}: expected refused, seen {seen}"
    for error in NO:
        fields = {"context-ack.type": U32.pack(error)}
        seen = hostile.sees(Lie(fields), hostile.READ, hostile.READ)
        assert seen == "ok; ok", f"a context, then {error:#x}: expected ok; ok, seen {seen}"
        for answer in ("export", "go"):
            fields = {f"{answer}.type": U32.pack(error)}
            seen = hostile.sees(Lie(fields, close_after=f"{answer}.data"), hostile.READ)
            assert seen == "refused", f"{answer}, {error:#x}: expected refused, seen {seen}"
    seen = hostile.sees(Lie(structured=False), hostile.READ, hostile.READ)
    assert seen == "ok; ok", f"simple replies only: expected ok; ok, seen {seen}"

"""This case checks that QEMU refuses impossible sizes, flags and block sizes, or is safe with them.

How: a server sends them in its reply to GO; QEMU opens, reads and writes. A volume that is too
large for QEMU must not open with another size and data in it.
Guards: limits-zero-or-excessive.
Related: negative-size, size-int-overflow.
"""

from qbdcheck.kit import case
from qbdcheck.kit.hostile_server import FLAGS, SIZE, Lie
from qbdcheck.kit.nbd import INFO_BLOCK_SIZE, INFO_EXPORT, Info, TransmissionFlag

EIO = "Input/output error"
SIZES = [
    (0, f"{EIO}; {EIO}"),
    (1 << 20, "ok; ok"),
    ((1 << 63) - 512, "refused"),
    ((1 << 63) - 1, "refused"),
    # QEMU 7.2 opens it as an empty volume: docs/findings.md
    (1 << 63, f"{EIO}; {EIO}"),
    ((1 << 64) - 5, "refused"),
    ((1 << 64) - 1, "refused"),
]
BLOCKS = [
    ((1, 4096, 32 << 20), "ok; ok"),
    ((1, 1, 0xFFFFFFFF), "ok; ok"),
    ((512, 512, 512 << 10), "ok; ok"),
    ((0, 4096, 32 << 20), "refused"),
    ((3, 4096, 32 << 20), "refused"),
    ((1, 3, 32 << 20), "refused"),
    ((512, 256, 32 << 20), "refused"),
    ((4096, 4096, 1024), "refused"),
    ((4096, 4096, 0), "refused"),
    ((1 << 31, 1 << 31, 1 << 31), "refused"),
]
HAS_FLAGS = int(TransmissionFlag.HAS_FLAGS)
READ_ONLY = HAS_FLAGS | int(TransmissionFlag.READ_ONLY)


def with_info(kind, size, flags):
    return Lie({"export.data": INFO_EXPORT.pack(kind, size, flags)})


@case(
    groups="hostile protocol quick",
    basis=("MUST: NBD, NBD_OPT_GO", "POLICY: qemu-survives-any-server"),
)
def test(hostile):
    both = (hostile.READ, "write -P 0x5a 512 512")
    for size, expected in SIZES:
        seen = hostile.sees(with_info(Info.EXPORT, size, FLAGS), *both)
        refused_later = size >= 1 << 63 and seen == "refused"
        assert seen == expected or refused_later, (
            f"a size of {size}: expected {expected}, seen {seen}"
        )
    for blocks, expected in BLOCKS:
        lie = Lie({"blocks.data": INFO_BLOCK_SIZE.pack(Info.BLOCK_SIZE, *blocks)})
        seen = hostile.sees(lie, *both)
        assert seen == expected, f"block sizes {blocks}: expected {expected}, seen {seen}"
    for kind, flags, expected in (
        (Info.EXPORT, HAS_FLAGS, "ok; ok"),
        (Info.EXPORT, READ_ONLY, "refused"),
        (Info.EXPORT, 0, "refused"),
        (9, FLAGS, "refused"),
    ):
        seen = hostile.sees(with_info(kind, SIZE, flags), *both)
        assert seen == expected, (
            f"information {kind}, flags {flags:#x}: expected {expected}, seen {seen}"
        )
    changed = SIZE - hostile.volume.count(0x5A)
    assert changed == 0, f"{changed} bytes of the volume changed; all writes have the old contents"

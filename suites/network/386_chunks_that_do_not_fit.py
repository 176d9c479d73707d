"""This case checks that chunks outside or after a read crash nothing, and make it fail.

How: replies of every wrong shape to a structured read, each with the expected error. QEMU 7.2
trusts a server in four cases (docs/findings.md): there wrong data may pass, or an error come.
Related: structured-read-gap.
"""

from qbdcheck.kit import case
from qbdcheck.kit.hostile_messages import chunk, data_chunk, done_chunk, hole_chunk, simple
from qbdcheck.kit.hostile_server import FILL, Lie
from qbdcheck.kit.nbd import ERROR, OFFSET_HOLE, U64, Chunk

OK, EIO, EINVAL, TRUSTED = "ok", "Input/output error", "Invalid argument", "wrong data"
DATA, HALF = bytes([FILL]) * 4096, bytes([FILL]) * 2048


def fails(request, errno=5, text=b"", flags=1, claimed=None):
    head = ERROR.pack(errno, len(text) if claimed is None else claimed)
    return chunk(request.cookie, Chunk.ERROR, ("error", head + text), flags=flags)


def last(request, at=0, data=DATA):
    return data_chunk(request, at, data, done=True)


def odd(kind, payload=b""):
    return lambda request: [chunk(request.cookie, kind, ("x", payload), flags=1)]


def bytewise(request):
    return [*(data_chunk(request, at, DATA[:1]) for at in range(4096)), done_chunk(request)]


def hole_over_data(request):
    return [data_chunk(request, 0, DATA), hole_chunk(request, 0, 4096, done=True)]


REPLIES = [
    ("halves in reverse", lambda r: [data_chunk(r, 2048, HALF), last(r, 0, HALF)], OK),
    ("a chunk for each byte", bytewise, OK),
    ("the same twice", lambda r: [data_chunk(r, 0, DATA), last(r)], OK),
    ("overlapping", lambda r: [data_chunk(r, 0, DATA[:3072]), last(r, 2048, HALF)], OK),
    ("nothing", lambda r: [done_chunk(r)], TRUSTED),
    ("one half", lambda r: [last(r, 0, HALF)], TRUSTED),
    ("the other half", lambda r: [last(r, 2048, HALF)], TRUSTED),
    ("a hole over data", hole_over_data, TRUSTED),
    ("a simple reply", lambda r: [simple(r.cookie, 0, DATA)], EINVAL),
    ("more than asked", lambda r: [last(r, 0, DATA + HALF)], EINVAL),
    ("outside of the range", lambda r: [last(r, 4096)], EINVAL),
    ("at 2^64 - 512", lambda r: [last(r, (1 << 64) - 512)], EINVAL),
    ("no data", lambda r: [data_chunk(r, 0, b""), last(r)], EINVAL),
    ("an empty hole", lambda r: [hole_chunk(r, 0, 0), last(r)], EINVAL),
    ("too large a hole", lambda r: [hole_chunk(r, 0, 8192, done=True)], EINVAL),
    ("a hole over 2^64", lambda r: [hole_chunk(r, (1 << 64) - 512, 1024, done=True)], EINVAL),
    ("half a hole", odd(Chunk.OFFSET_HOLE, U64.pack(0)), EINVAL),
    ("a long hole", odd(Chunk.OFFSET_HOLE, OFFSET_HOLE.pack(0, 4096) + b"x"), EINVAL),
    ("NONE, not done", lambda r: [chunk(r.cookie, Chunk.NONE), last(r)], EINVAL),
    ("NONE with data", odd(Chunk.NONE, b"data"), EINVAL),
    ("a status", odd(Chunk.BLOCK_STATUS, bytes(12)), EINVAL),
    ("error 0", lambda r: [fails(r, 0)], EINVAL),
    ("an error, then all data", lambda r: [fails(r, flags=0), last(r)], EIO),
    ("all data, then an error", lambda r: [data_chunk(r, 0, DATA), fails(r)], EIO),
    ("two errors", lambda r: [fails(r, 28, flags=0), fails(r, 5)], "No space left on device"),
    ("a text of 900 bytes", lambda r: [fails(r, text=b"x" * 900)], EIO),
    ("a text of 60000 bytes", lambda r: [fails(r, text=b"x" * 60000)], EINVAL),
    ("a missing text", lambda r: [fails(r, claimed=600)], EINVAL),
    ("half an error", odd(Chunk.ERROR, b"\0"), EINVAL),
]  # fmt: skip


@case(
    groups="hostile protocol quick",
    basis=("MUST: NBD, Structured reply types", "POLICY: qemu-survives-any-server"),
)
def test(hostile):
    for what, answer, expected in REPLIES:
        seen = hostile.sees(Lie(answer=answer), hostile.READ)
        fine = seen == expected or (expected == TRUSTED and seen in {EIO, EINVAL})
        assert fine, f"READ answered by {what}: expected {expected}, seen {seen}"
    stale = bytes(
        4096
    )  # the second reply to the first read must not serve as the reply to the second

    def twice(request):
        return [last(request), last(request, 0, stale)]

    seen = hostile.sees(Lie(answer=twice), hostile.READ, hostile.READ)
    assert seen in {f"{OK}; {TRUSTED}", f"{OK}; {EIO}", f"{OK}; {EINVAL}"}, (
        f"the first of two reads answered twice: seen {seen}"
    )

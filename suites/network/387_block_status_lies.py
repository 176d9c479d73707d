"""This case checks that a wrong reply to BLOCK_STATUS never crashes QEMU or makes it loop.

How: qemu-img map on a server whose extents are empty, too long, unaligned, of another context,
repeated or cut short. Each has its expected mapping or error. A map must cover the volume exactly.
Related: malformed-extents, zero-progress-status, extents-blowup.
"""

from qbdcheck.kit import ProgramError, case
from qbdcheck.kit.hostile_messages import chunk, data_chunk, done_chunk, simple, status_chunk
from qbdcheck.kit.hostile_server import SIZE, Lie
from qbdcheck.kit.nbd import ERROR, Chunk

EIO, EINVAL = "Input/output error", "Invalid argument"
DATA, HOLE = 0, 3


def table(*extents, **options):
    return lambda request: [status_chunk(request, extents, **options)]


def half(request):
    return [chunk(request.cookie, Chunk.BLOCK_STATUS, ("x", bytes(8)), flags=1)]


def error_first(request):
    error = chunk(request.cookie, Chunk.ERROR, ("x", ERROR.pack(5, 0)))
    return [error, status_chunk(request, [(SIZE, DATA)])]


REPLIES = [
    ("all data", table((SIZE, DATA)), "data"),
    ("all hole", table((SIZE, HOLE)), "hole"),
    ("short extents", table((4096, HOLE)), "hole"),
    ("zeroes that are no hole", table((SIZE, 2)), "zero"),
    ("all flags", table((SIZE, 0xFFFFFFFF)), "hole"),
    ("unknown flags", table((SIZE, 0xFFFFFFFC)), "data"),
    ("beyond the volume", table((2 * SIZE, HOLE)), "hole"),
    ("of 4 GiB", table((0xFFFFFFFF, HOLE)), "hole"),
    ("of 4 GiB, aligned", table((0xFFFFF000, HOLE)), "hole"),
    ("not of sectors", table((100, HOLE)), "hole"),
    ("a second extent", table((4096, HOLE), (4096, HOLE)), "hole"),
    ("none", table(), EINVAL),
    ("an empty one", table((0, HOLE)), EINVAL),
    ("a thousand", table(*[(512, HOLE)] * 1000), EINVAL),
    ("another context", table((SIZE, HOLE), context=9), EINVAL),
    ("only the last chunk", lambda r: [done_chunk(r)], EIO),
    ("a simple reply", lambda r: [simple(r.cookie)], EIO),
    ("a simple error", lambda r: [simple(r.cookie, 22)], EINVAL),
    ("data", lambda r: [data_chunk(r, 0, b"x", done=True)], EINVAL),
    ("half an extent", half, EINVAL),
    ("twice", lambda r: [*table((SIZE, DATA), done=False)(r), *table((SIZE, HOLE))(r)], EINVAL),
    ("an error, then an answer", error_first, EIO),
]  # fmt: skip


def mapped(qemu_img, filename):
    """Return the kinds of all extents, or the error."""
    try:
        extents = qemu_img.json("map", "--image-opts", filename)
    except ProgramError as error:
        return EIO if EIO in str(error) else EINVAL if EINVAL in str(error) else str(error)
    ends = [extent["start"] + extent["length"] for extent in extents]
    starts = [extent["start"] for extent in extents]
    assert starts == [0, *ends[:-1]] and ends[-1] == SIZE, (
        f"the map has gaps or overlaps: {extents}"
    )
    kinds = {
        "data" if e["data"] and not e["zero"] else "zero" if e["data"] else "hole" for e in extents
    }
    return " and ".join(sorted(kinds))


@case(
    groups="hostile protocol status",
    basis=("MUST: NBD, NBD_CMD_BLOCK_STATUS", "POLICY: qemu-survives-any-server"),
)
def test(hostile, qemu_img):
    for what, answer, expected in REPLIES:
        hostile.tell(Lie(answer=answer))
        seen = mapped(qemu_img, hostile.filename)
        assert seen == expected, f"BLOCK_STATUS, {what}: expected {expected}, seen {seen}"

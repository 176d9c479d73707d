"""This case checks that a server that hangs up in a reply costs an error, or some time.

How: the connection closes before, within and after each field of the replies to read, write and
block status. Without reconnect-delay the guest sees EIO, in bounded time, and other requests in
flight do too; with it QEMU asks a new connection, and the right data comes.
Guards: inflight-hang-on-disconnect, zombie-write-after-reconnect.
"""

from qbdcheck.kit import case
from qbdcheck.kit.hostile_server import FILL, SIZE, Lie

COMMANDS = (
    "write -P 0x5b 8192 4096",
    "alloc 0 4096",
    "read -P 0x5a 0 4096",
    "read -P 0x5b 8192 4096",
)
EIO = "Input/output error"
IN_FLIGHT = [f"aio_read -P 0x5a {number << 12} 4096" for number in range(16)]


STATUS_ONLY = {"chunk.context", "chunk.extents"}


def hangs_up_in_a_read(hostile, lie, what):
    whole = lie.cut[0].endswith("data") and lie.cut[1] == 4096  # only the next one has no answer
    first, second = hostile.sees(lie, hostile.READ, hostile.READ).split("; ")
    assert first == ("ok" if whole else EIO), f"{what}: {first}"
    assert second in {"ok", EIO}, f"{what}, next: {second}"  # ok once it has connected again
    ends = hostile.in_flight(lie, IN_FLIGHT)
    failed = [end.error for end in ends if end.error]
    assert len(ends) == len(IN_FLIGHT), f"{what}: {len(ends)} of 16 ended"
    assert set(failed) == {EIO}, f"{what}: {failed}"


@case(groups="hostile protocol concurrent")
def test(hostile):
    for structured in (True, False):
        cuts = hostile.cuts(*COMMANDS, structured=structured)
        message = "chunk." if structured else "simple."
        cuts = [cut for cut in cuts if cut[0].startswith(message)]
        assert len(cuts) >= 10, f"too few fields: {cuts}"
        for cut in cuts:
            what = f"hung up after {cut[1]} bytes of {cut[0]}"
            lie = Lie(cut=cut, structured=structured, connections=1)
            if cut[0] not in STATUS_ONLY:
                hangs_up_in_a_read(hostile, lie, what)
            *seen, last = hostile.sees(lie, *COMMANDS, reconnect_delay=30).split("; ")
            assert last == "ok" and EIO not in seen, f"{what}, with reconnect-delay: {seen}, {last}"
            assert bytes(hostile.volume[8192:12288]) == b"[" * 4096, f"{what}: the write is lost"
            assert hostile.volume.count(FILL) == SIZE - 4096, f"{what}: written elsewhere"

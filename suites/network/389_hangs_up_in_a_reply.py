"""This case checks that a server that closes the connection in a reply costs an error, or time.

How: the connection closes before, within and after each field of the replies to read, write and
block status. Without reconnect-delay the guest gets EIO in bounded time, for all requests in
flight. With it QEMU sends the request again on a new connection, and gets the right data.
Guards: inflight-hang-on-disconnect.
Related: zombie-write-after-reconnect.
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


def check_reads(hostile, lie, what):
    whole = lie.cut[0].endswith("data") and lie.cut[1] == 4096  # only the next read has no reply
    first, second = hostile.sees(lie, hostile.READ, hostile.READ).split("; ")
    assert first == ("ok" if whole else EIO), f"{what}: the first READ: {first}"
    assert second in {"ok", EIO}, f"{what}: the second READ: {second}"  # ok after a reconnect
    ends = hostile.in_flight(lie, IN_FLIGHT)
    failed = [end.error for end in ends if end.error]
    assert len(ends) == len(IN_FLIGHT), f"{what}: {len(ends)} of 16 reads in flight ended"
    assert set(failed) == {EIO}, f"{what}: errors of 16 reads in flight: {failed}"


@case(
    groups="hostile protocol concurrent",
    basis=("MUST: NBD, Terminating the transmission phase", "POLICY: qemu-survives-any-server"),
)
def test(hostile):
    for structured in (True, False):
        cuts = hostile.cuts(*COMMANDS, structured=structured)
        message = "chunk." if structured else "simple."
        cuts = [cut for cut in cuts if cut[0].startswith(message)]
        assert len(cuts) >= 10, f"too few fields in the replies: {cuts}"
        for cut in cuts:
            what = f"closed after {cut[1]} bytes of {cut[0]}"
            lie = Lie(cut=cut, structured=structured, connections=1)
            if cut[0] not in STATUS_ONLY:
                check_reads(hostile, lie, what)
            *seen, last = hostile.sees(lie, *COMMANDS, reconnect_delay=30).split("; ")
            assert last == "ok" and EIO not in seen, f"{what}, with reconnect-delay: {seen}, {last}"
            assert bytes(hostile.volume[8192:12288]) == b"[" * 4096, f"{what}: the write is lost"
            assert hostile.volume.count(FILL) == SIZE - 4096, (
                f"{what}: the write changed other bytes too"
            )

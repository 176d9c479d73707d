"""This case checks that a wrong reply header never crashes or hangs QEMU, nor passes as data.

How: each field of a simple and of a structured reply is changed, with one request and with 16 in
flight. Each request must end, with an error for the guest.
Guards: inflight-hang-on-disconnect.
Related: structured-read-gap.
"""

from qbdcheck.kit import case
from qbdcheck.kit.hostile_server import Lie
from qbdcheck.kit.nbd import U16, U32, U64

OK, EIO, EINVAL = "ok", "Input/output error", "Invalid argument"
TOO_LONG = (EINVAL, EIO)
"""QEMU refuses the chunk when it handles it (7.2), or with the header (10.0)."""
SIMPLE = [
    ("magic", U32.pack(0), EIO),
    ("magic", U32.pack(0x668E33EF), EIO),
    ("errno", U32.pack(5), EIO),
    ("errno", U32.pack(28), "No space left on device"),
    ("errno", U32.pack(107), EINVAL),
    ("errno", U32.pack(0xFFFFFFFF), EINVAL),
    ("cookie", U64.pack(0), EIO),
    ("cookie", U64.pack(99), EIO),
    ("cookie", U64.pack((1 << 64) - 1), EIO),
]
STRUCTURED = [
    ("magic", U32.pack(0), EIO),
    ("magic", U32.pack(0x6E8A278C), EIO),
    ("flags", U16.pack(0xFFFF), OK),
    ("type", U16.pack(0), EINVAL),
    ("type", U16.pack(5), EINVAL),
    ("type", U16.pack(77), EINVAL),
    ("type", U16.pack(0x8077), EINVAL),
    ("cookie", U64.pack(0), EIO),
    ("cookie", U64.pack(99), EIO),
    ("cookie", U64.pack((1 << 64) - 1), EIO),
    ("length", U32.pack(0), EINVAL),
    ("length", U32.pack(8), EINVAL),
    ("length", U32.pack(0xFFFFFFFF), TOO_LONG),
    ("offset", U64.pack(512), EINVAL),
    ("offset", U64.pack((1 << 64) - 512), EINVAL),
]
IN_FLIGHT = [f"aio_read -P 0x5a {number << 12} 4096" for number in range(16)]


@case(
    groups="hostile protocol quick concurrent",
    basis=(
        "MUST: NBD, Simple reply message",
        "MUST: NBD, Structured reply chunk message",
        "POLICY: qemu-survives-any-server",
    ),
)
def test(hostile):
    for message, lies in (("simple", SIMPLE), ("chunk", STRUCTURED)):
        for field, value, expected in lies:
            lie = Lie({f"{message}.{field}": value}, structured=message == "chunk")
            what = f"{message}.{field} = {value.hex()}"
            seen = hostile.sees(lie, hostile.READ)
            wanted = expected if isinstance(expected, tuple) else (expected,)
            assert seen in wanted, f"{what}: READ expected {' or '.join(wanted)}, seen {seen}"
            reports = hostile.in_flight(lie, IN_FLIGHT)
            assert len(reports) == len(IN_FLIGHT), (
                f"{what}: {len(reports)} of 16 reads in flight ended"
            )
            failed = [bool(report.error) for report in reports]
            assert failed == [expected != OK] * len(IN_FLIGHT), (
                f"{what}: failures of 16 reads in flight: {failed}, expected {expected}"
            )

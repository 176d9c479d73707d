"""This case checks that QEMU fails cleanly if a server closes the connection in the handshake.

How: the connection closes before, within and after each field of each reply, with structured and
with simple replies. QEMU must refuse to open, at once. Only after the last field is it open.
Guards: inflight-hang-on-disconnect.
Related: handshake-length-off.
"""

from qbdcheck.kit import case
from qbdcheck.kit.hostile_server import Lie


@case(
    groups="hostile protocol quick",
    basis=(
        "MUST: NBD, Handshake",
        "POLICY: qemu-survives-any-server",
    ),
)
def test(hostile):
    for structured in (True, False):
        cuts = hostile.cuts(structured=structured)
        cuts = [cut for cut in cuts if not cut[0].startswith(("chunk", "simple"))]
        assert len(cuts) > 40, f"only {len(cuts)} fields in the handshake"
        name, length = cuts.pop()
        for cut in cuts:
            seen = hostile.sees(Lie(cut=cut, structured=structured))
            assert seen == "refused", (
                f"closed after {cut[1]} bytes of {cut[0]}: expected refused, seen {seen}"
            )
        seen = hostile.sees(Lie(cut=(name, length), structured=structured), hostile.READ)
        assert seen == "Input/output error", (
            f"closed after {length} bytes of {name}: READ expected EIO, seen {seen}"
        )

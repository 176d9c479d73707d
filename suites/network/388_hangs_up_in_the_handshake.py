"""This case checks that QEMU ends cleanly wherever a server hangs up while they haggle.

How: the connection closes before, within and after each field of each answer, with structured and
with simple replies; QEMU refuses to open, at once. Only after the last field is it open.
Guards: handshake-length-off, inflight-hang-on-disconnect.
"""

from qbdcheck.kit import case
from qbdcheck.kit.hostile_server import Lie


@case(groups="hostile protocol quick")
def test(hostile):
    for structured in (True, False):
        cuts = hostile.cuts(structured=structured)
        cuts = [cut for cut in cuts if not cut[0].startswith(("chunk", "simple"))]
        assert len(cuts) > 40, "the server sends nothing: is there no handshake?"
        name, length = cuts.pop()
        for cut in cuts:
            seen = hostile.sees(Lie(cut=cut, structured=structured))
            assert seen == "refused", f"hung up after {cut[1]} bytes of {cut[0]}: {seen}"
        seen = hostile.sees(Lie(cut=(name, length), structured=structured), hostile.READ)
        assert seen == "Input/output error", f"hung up after {length} bytes of {name}: {seen}"

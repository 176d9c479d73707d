"""This case checks that data is right whatever requests and events come together.

How: rounds of requests in flight, each beside, inside or over another one in flight or a recent
one, with flushes, from two or three connections; the client often waits for the newest reply only,
and sends what depends on it. Among and between them come power cuts (also one directly after
another), broken connections, snapshots, refused snapshots, removals, clones, growth and shrinking,
as they are drawn. What changed is read after each round, with what is around it.
Guards: first-part-writes-zero-each-other, allocator-forgets-after-cut.
"""

from qbdcheck.kit import case
from qbdcheck.kit.mixed.mixture import mix


@case(
    groups="model concurrent crash snapshot quick",
    requires="raw_requests",
    basis=(
        "MUST: NBD, NBD_CMD_WRITE",
        "MUST: NBD, NBD_CMD_FLUSH",
        "POLICY: sector-writes-are-atomic",
        "POLICY: discard-old-or-zero",
        "POLICY: requests-take-effect-at-one-moment",
        "POLICY: answered-writes-outlive-their-connection",
        "POLICY: snapshot-is-one-moment",
        "POLICY: clone-is-independent",
        "POLICY: grown-part-reads-zero",
        "POLICY: dirty-bitmap-covers-all-changes",
    ),
)
def test(nbd_io, target, seed, log):
    mix(target, nbd_io, seed, log, rounds=50, within_s=25, without=("kill", "stop"))

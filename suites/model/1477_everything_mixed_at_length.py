"""This case checks that data is right in a long mixture of requests and events, errors among them.

How: as 1476, with hundreds of rounds, and with the storage failing some changes and flushes, kills
and stops of the server among the events. A range that failed is old or new, and what changed since
the newest snapshot is dirty.
Guards: refused-snapshot-replaces, flush-commits-unfinished, hydration-undoes-zeroes,
stripe-fetched-twice.
"""

from qbdcheck.kit import case
from qbdcheck.kit.mixed.mixture import mix


@case(
    groups="model concurrent crash snapshot errors inject slow nightly",
    requires="raw_requests",
    limit_s=120,
    basis=(
        "MUST: NBD, NBD_CMD_WRITE",
        "MUST: NBD, NBD_CMD_FLUSH",
        "MUST: NBD, Error values",
        "POLICY: sector-writes-are-atomic",
        "POLICY: discard-old-or-zero",
        "POLICY: requests-take-effect-at-one-moment",
        "POLICY: answered-writes-outlive-their-connection",
        "POLICY: snapshot-is-one-moment",
        "POLICY: clone-is-independent",
        "POLICY: grown-part-reads-zero",
        "POLICY: dirty-bitmap-covers-all-changes",
        "POLICY: failed-write-old-or-new",
    ),
)
def test(nbd_io, target, rules, seed, log):
    mix(target, nbd_io, seed, log, rounds=400, within_s=60, rules=rules)

"""This case checks that scripts and histories are right with simple and with extended headers.

How: random scripts of all operations are played by a model, and three clients at once are judged
for linearizability, in each header mode that the cases 450 and 461 do not use. In the history the
clients have different modes.
Related: cross-connection-state, payload-not-drained, fua-write-ack-early.
"""

from itertools import cycle

from qbdcheck.kit import case
from qbdcheck.kit.model.concurrent import Plan
from qbdcheck.kit.nbd import ReplyMode

SCRIPTS = 3


@case(
    groups="model rw flush concurrent protocol",
    requires="nbd flush multi_conn",
    basis=("MUST: NBD, Transmission", "POLICY: requests-take-effect-at-one-moment"),
)
def test(new_disk, model, nbd):
    for mode in (ReplyMode.SIMPLE, ReplyMode.EXTENDED):
        disk = new_disk(model.SIZE, prefill=False, name=mode.name.lower())
        player = model.over_nbd(disk, **arguments(mode))
        model.search(player, SCRIPTS)
    disk = new_disk("32k", prefill=False, name="history")
    modes = cycle(ReplyMode)
    plan = Plan(requests=120, flushes=0.02)
    model.record(disk, 3, plan, 0, connect=lambda: nbd(disk, **arguments(next(modes))))


def arguments(mode):
    return {"structured": mode > ReplyMode.SIMPLE, "extended": mode is ReplyMode.EXTENDED}

"""This case checks that random scripts over raw NBD give what a model expects at each step.

How: hypothesis plays reads, writes, zeroes, discards, flushes, status, resizes, snapshots, lost
connections, power cuts and faults. A failing script is shrunk and saved for ./check replay.
Guards: flush-noop, write-zeroes-noop, discard-overreach, async-error-ignored.
Related: fua-write-ack-early.
"""

from qbdcheck.kit import case

SCRIPTS, SCRIPTS_WITH_KILLS = 100, 40


@case(
    groups="model rw flush crash slow",
    requires="nbd flush",
    limit_s=300,
    basis=(
        "MUST: NBD, NBD_CMD_READ",
        "MUST: NBD, NBD_CMD_FLUSH",
        "MUST: NBD, NBD_CMD_WRITE_ZEROES",
        "POLICY: discard-old-or-zero",
    ),
)
def test(new_disk, model, seed):
    player = model.over_nbd(new_disk(model.SIZE, prefill=False))
    model.search(player, SCRIPTS_WITH_KILLS if "kill" in player.abilities else SCRIPTS)

"""This case checks that the search with scripts finds planted bugs and shrinks them to a few steps.

How: the reference volume in this process with one bug at a time. The shortest script must be short,
must fail again, and must pass without the bug.
Guards: flush-noop, fua-write-ack-early, discard-overreach, write-zeroes-noop.
"""

from qbdcheck.kit import case
from qbdcheck.kit.model.machine import search
from qbdcheck.kit.model.replay import play

BUGS = ("flush-noop", "fua-write-ack-early", "discard-overreach", "write-zeroes-noop")


@case(groups="model self slow", limit_s=120, basis="MUST: qbdcheck, docs/models.md")
def test(model, seed, log):
    for bug in BUGS:
        found = search(model.in_process(bug), int(seed), 500)
        assert found.best is not None, f"500 scripts did not find the planted bug {bug}"
        script, text = found.best
        log(f"{bug}: after {found.scripts} scripts:", *script.steps, text)
        assert len(script.steps) <= 8, f"{bug}: more than 8 steps: {script.steps}"
        play(script, model.in_process())

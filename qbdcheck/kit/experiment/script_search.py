"""Find a script that fails among those of a record, and make it as small as it can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from oracles.recorded import fits, with_no_hole
from oracles.scripts import Script, Step
from oracles.shrinking import fewest
from qbdcheck.kit.experiment.outcomes import FAILS, Judge

_SMALL = 64 << 10
"""Bytes: sizes of smaller volumes are multiples of this."""
_ROOM = 1 << 20
"""Bytes that a smaller volume has behind the last request, for requests that are moved."""


def first_failing(scripts: Sequence[tuple[str, Script]], judge: Judge) -> tuple[str, Script] | None:
    """Return the first script that fails, with what it is made of; None if none does.

    Each is tried twice before the next one; then again with NO_HOLE in its zeroes.
    """
    for about, script in scripts:
        for one in filter(None, (script, with_no_hole(script))):
            found = judge.tried(one)
            if found is not None and found.outcome != FAILS and found.failed:
                return about, one
            if found is not None and found.outcome == FAILS:
                return about, _until(one, found.step)
    return None


def _until(script: Script, step: int) -> Script:
    """Return the script up to the step that was wrong; 0: all of it."""
    return replace(script, steps=script.steps[:step]) if step else script


def smallest(script: Script, judge: Judge) -> Script:
    """Return a script that fails, and that does not fail without any one of its steps or flags."""
    script = _fewest_steps(script, judge)
    for simpler in (_on_one_connection, _on_small_volume, _prefilled):
        changed = simpler(script)
        if changed != script and fits(changed) and judge.fails(changed):
            script = changed
    for number in range(len(script.steps)):
        for step in _plainer(script.steps[number]):
            changed = with_step(script, number, step)
            if judge.fails(changed):
                script = changed
                break
    return _fewest_steps(script, judge)


def with_step(script: Script, number: int, *steps: Step) -> Script:
    """Return a script in which others are in the place of the step ``number``, from 0."""
    return replace(script, steps=(*script.steps[:number], *steps, *script.steps[number + 1 :]))


def _fewest_steps(script: Script, judge: Judge) -> Script:
    def fails(steps: list[Step]) -> bool:
        shorter = replace(script, steps=tuple(steps))
        return fits(shorter) and judge.fails(shorter)

    return replace(script, steps=tuple(fewest(list(script.steps), fails)))


def _on_one_connection(script: Script) -> Script:
    return replace(script, steps=tuple(replace(one, connection=1) for one in script.steps))


def _on_small_volume(script: Script) -> Script:
    ends = [one.size if one.do == "resize" else one.offset + one.length for one in script.steps]
    size = -(-max(ends) // _SMALL) * _SMALL + _ROOM
    return replace(script, size=size) if size < script.size else script


def _prefilled(script: Script) -> Script:
    return replace(script, prefill=True)


def _plainer(step: Step) -> Iterator[Step]:
    """Yield steps that are simpler than one, the simplest first."""
    plain: list[Callable[[Step], Step]] = [
        lambda one: replace(one, fua=False, no_hole=False),
        lambda one: replace(one, fua=False),
        lambda one: replace(one, no_hole=False),
    ]
    for make in plain:
        if (made := make(step)) != step:
            yield made
    if step.fill >= 0:
        yield replace(step, fill=-1)
    if step.do in ("power-cut", "kill", "restart"):
        yield Step("reopen")
    if step.do == "power-cut":
        yield Step("kill")

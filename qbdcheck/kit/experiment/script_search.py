"""Find a script that fails among those of a record, and make it as small as it can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

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
    script = _simpler(script, judge, (_moved_down, _on_small_volume))
    script = _fewest_steps(script, judge)
    explicit = _simpler(script, judge, (_explicit_prefill,))
    makers = [_moved_down, _on_small_volume, _on_one_connection]
    makers += [_prefilled] if explicit == script else []
    script = _simpler(explicit, judge, makers)
    for number in range(len(script.steps)):
        script = _simpler(script, judge, (partial(_at_one_place, number=number),))
    for number in range(len(script.steps)):
        for step in _plainer(script.steps[number]):
            changed = with_step(script, number, step)
            if judge.fails(changed):
                script = changed
                break
    return _fewest_steps(script, judge)


def _simpler(script: Script, judge: Judge, makers: Sequence[Callable[[Script], Script]]) -> Script:
    for make in makers:
        changed = make(script)
        if changed != script and fits(changed) and judge.fails(changed):
            script = changed
    return script


def with_step(script: Script, number: int, *steps: Step) -> Script:
    """Return a script in which others are in the place of the step ``number``, from 0."""
    return replace(script, steps=(*script.steps[:number], *steps, *script.steps[number + 1 :]))


def _fewest_steps(script: Script, judge: Judge) -> Script:
    def fails(steps: list[Step]) -> bool:
        shorter = replace(script, steps=tuple(steps))
        return fits(shorter) and judge.fails(shorter)

    return replace(script, steps=tuple(fewest(list(script.steps), fails)))


def _explicit_prefill(script: Script) -> Script:
    """Return the script with the write before its steps as a step, if no other step changes data.

    Then the prefill itself is what goes wrong.
    """
    if not script.prefill or any(one.do in ("write", "zero", "discard") for one in script.steps):
        return script
    steps = (Step("write", 0, script.size), Step("flush"), *script.steps)
    return replace(script, prefill=False, steps=steps)


def _at_one_place(script: Script, number: int) -> Script:
    """Return the script with a step moved to where the first request begins.

    Then no length must be large only because the requests have to touch.
    """
    step = script.steps[number]
    first = next((one.offset for one in script.steps if one.length), step.offset)
    if not step.length or step.offset == first:
        return script
    return with_step(script, number, replace(step, offset=first))


def _on_one_connection(script: Script) -> Script:
    return replace(script, steps=tuple(replace(one, connection=1) for one in script.steps))


def _moved_down(script: Script) -> Script:
    """Return the script near the beginning of a small volume; small volumes are faster."""
    lowest = min((one.offset for one in script.steps if one.length), default=0)
    by = max(lowest // _SMALL - 1, 0) * _SMALL
    if any(one.do == "resize" for one in script.steps) or not by:
        return script
    steps = tuple(replace(one, offset=one.offset - by) if one.length else one
                  for one in script.steps)  # fmt: skip
    return _on_small_volume(replace(script, steps=steps))


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

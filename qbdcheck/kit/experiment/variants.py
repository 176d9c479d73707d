"""Variants of a script: each changes one thing of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from oracles.recorded import fits
from oracles.scripts import Script, Step
from qbdcheck.kit.experiment.script_search import with_step

_CHANGES = ("write", "zero", "discard")
_ENDS = ("reopen", "reconnect", "restart", "kill", "power-cut")
NAMES = {
    "write": "a write",
    "zero": "write zeroes",
    "discard": "a discard",
    "read": "a read",
    "status": "a question for the block status",
    "flush": "a flush",
    "resize": "a resize",
    "snapshot": "a snapshot",
    "reopen": "the connection closed and opened again",
    "reconnect": "the connection lost and opened again",
    "restart": "the server stopped in its normal way and started again",
    "kill": "the server killed and started again",
    "power-cut": "a power cut",
    "fault": "an injected error",
    "wait": "a pause of 1 s",
}
_PAUSE = Step("wait", ms=1000)
FRESH, SAME_PLACE, STEP, TWICE = "contents before", "place", "step", "a second time"
"""Factors that other modules must know."""


@dataclass(frozen=True)
class Variant:
    """A script with one change.

    :ivar step: the number of the step that is changed, from 1; 0: of no single step.
    :ivar factor: what is varied, such as ``FUA``.
    :ivar as_is: how the smallest script has it, as words behind the name of the step.
    :ivar change: what the variant has instead.
    """

    step: int
    factor: str
    as_is: str
    change: str
    script: Script


def of_requests(script: Script, abilities: frozenset[str]) -> Iterator[Variant]:
    """Yield variants of the requests themselves that a target can play.

    :param abilities: of its player.
    """
    for make in (_left_out, _flags, _kinds, _ends, _fresh):
        yield from _playable(make(script, abilities), abilities)


def of_surroundings(script: Script, abilities: frozenset[str], unit: int) -> Iterator[Variant]:
    """Yield variants of what is between requests, and of how they relate to one another.

    :param unit: the minimum block of the target, in bytes.
    """
    yield from _playable(_between(script, abilities), abilities)
    yield from _playable(_elsewhere(script, unit), abilities)
    yield from _playable(_connections(script, abilities), abilities)
    yield from _playable(_twice(script, abilities), abilities)


def _playable(variants: Iterator[Variant], abilities: frozenset[str]) -> Iterator[Variant]:
    for one in variants:
        unable = {step.do for step in one.script.steps} - abilities
        if not unable and fits(one.script):
            yield one


def _left_out(script: Script, _abilities: frozenset[str]) -> Iterator[Variant]:
    for number in range(len(script.steps)):
        shorter = with_step(script, number)
        if shorter.steps:
            yield Variant(number + 1, STEP, "", "left out", shorter)


def _kinds(script: Script, _abilities: frozenset[str]) -> Iterator[Variant]:
    for number, step in enumerate(script.steps):
        for kind in _CHANGES if step.do in _CHANGES else ():
            if kind != step.do and (kind == "write" or _has_data(script, number)):
                other = replace(step, do=kind, no_hole=False, fill=-1)
                change = f"{NAMES[kind]} instead"
                changed = with_step(script, number, other)
                yield Variant(number + 1, "kind", NAMES[step.do], change, changed)


def _has_data(script: Script, number: int) -> bool:
    """Return whether a step changes data: zeroes over nothing cannot be seen."""
    step = script.steps[number]
    return script.prefill or any(
        one.do == "write"
        and one.offset < step.offset + step.length
        and step.offset < one.offset + one.length
        for one in script.steps[:number]
    )


def _flags(script: Script, abilities: frozenset[str]) -> Iterator[Variant]:
    for number, step in enumerate(script.steps):
        flags = [("fua", "FUA")] if step.do in _CHANGES and "fua" in abilities else []
        flags += [("no_hole", "NO_HOLE")] if step.do == "zero" else []
        for key, name in flags:
            is_set = bool(getattr(step, key))
            words = [f"with {name}", f"without {name}"]
            as_is, change = words if is_set else words[::-1]
            values = {key: not is_set}
            changed = with_step(script, number, replace(step, **values))  # type: ignore[arg-type]
            yield Variant(number + 1, name, as_is, change, changed)


def _ends(script: Script, _abilities: frozenset[str]) -> Iterator[Variant]:
    """Yield other ways to end the connection or the server."""
    for number, step in enumerate(script.steps):
        for kind in _ENDS if step.do in _ENDS else ():
            if kind != step.do:
                changed = with_step(script, number, Step(kind))
                yield Variant(number + 1, "kind", NAMES[step.do], f"{NAMES[kind]} instead", changed)


def _fresh(script: Script, _abilities: frozenset[str]) -> Iterator[Variant]:
    words = ["on a volume full of data", "on a volume that was never written"]
    as_is, change = words if script.prefill else words[::-1]
    yield Variant(0, FRESH, as_is, change, replace(script, prefill=not script.prefill))


def _between(script: Script, _abilities: frozenset[str]) -> Iterator[Variant]:
    """Yield scripts with a further step between two steps, or before the check at the end."""
    for number in range(1, len(script.steps) + 1):
        is_last = number == len(script.steps)
        where = "before the check at the end" if is_last else f"before step {number + 1}"
        beside = {script.steps[number - 1].do, None if is_last else script.steps[number].do}
        pause = [_PAUSE] if number == 1 else []
        for step in (Step("flush"), Step("reopen"), Step("restart"), *pause):
            if step.do in beside or (is_last and beside & {"kill", "power-cut"}):
                continue
            steps = (*script.steps[:number], step, *script.steps[number:])
            name = f"{NAMES[step.do]} {where}"
            yield Variant(number, name, f"no {_bare(step)} {where}", name,
                          replace(script, steps=steps))  # fmt: skip


def _bare(step: Step) -> str:
    return {"flush": "flush", "reopen": "end of the connection", "restart": "restart"}.get(
        step.do, "pause"
    )


def _elsewhere(script: Script, unit: int) -> Iterator[Variant]:
    """Yield scripts in which one step is moved away from the others."""
    placed = [n for n, step in enumerate(script.steps) if step.length]
    if len(placed) < 2:
        return
    for number in placed[1:]:
        step = script.steps[number]
        for away in _distances(step, unit):
            for offset in (step.offset + away, step.offset - away):
                moved = with_step(script, number, replace(step, offset=offset))
                if fits(moved):
                    change = f"moved by {away:,} bytes"
                    yield Variant(number + 1, SAME_PLACE, "at this place", change, moved)
                    break


def _distances(step: Step, unit: int) -> list[int]:
    beside = -(-step.length // unit) * unit
    found = [beside, max(4096, -(-beside // 4096) * 4096), 65536, 512 << 10]
    return [one for one in dict.fromkeys(found) if one >= beside]


def _connections(script: Script, abilities: frozenset[str]) -> Iterator[Variant]:
    if "connections" not in abilities:
        return
    for number, step in enumerate(script.steps):
        if step.do in (*_CHANGES, "read", "flush"):
            is_other = step.connection > 1
            words = ["over another connection", "over the same connection as the check at the end"]
            as_is, change = words if is_other else words[::-1]
            other = replace(step, connection=1 if is_other else 2)
            yield Variant(number + 1, "connection", as_is, change, with_step(script, number, other))


def _twice(script: Script, _abilities: frozenset[str]) -> Iterator[Variant]:
    for number, step in enumerate(script.steps):
        if step.do in (*_CHANGES, "read"):
            changed = with_step(script, number, step, step)
            yield Variant(number + 1, TWICE, "once", "twice", changed)


def shaped(script: Script, number: int, offset: int, length: int) -> Script | None:
    """Return the script with another place and length of a step, from 0; the others move with it.

    None if they do not fit into the volume.
    """
    by = offset - script.steps[number].offset
    steps = [replace(one, offset=one.offset + by) if one.length else one for one in script.steps]
    steps[number] = replace(steps[number], length=length)
    changed = replace(script, steps=tuple(steps))
    return changed if fits(changed) else None

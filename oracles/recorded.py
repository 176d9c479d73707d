"""The requests that a volume got before a check found damage, and the scripts that repeat them.

A finding carries such a record from the case to the runner. It is not a part of a report.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from oracles.life import CHANGES, KILLED, Moment
from oracles.scripts import SIZE_MAX, Script, Step

MOST = 1500
"""Moments of a record: the last ones."""
_UNIT = 64 << 10
"""Bytes: a request is near damage if it touches the same unit."""
_MOVED, _ROUND = 16 << 20, 1 << 20
"""Bytes: requests are moved by multiples of the one; smaller volumes are multiples of the other."""
_CONNECTIONS = 8
_WORDS = {"write": "write", "write_zeroes": "zero", "trim": "discard", "discard": "discard",
          "read": "read"}  # fmt: skip
"""The first words of requests, in small letters, with the steps that they are."""
_READ = re.compile(r"\bread (\d+)\+(\d+)")
_READ_OF = re.compile(r"\bREAD of (\d+) bytes at (\d+)")
_PATTERN = re.compile(r"pattern 0x([0-9a-f]{2})")
_SIZES = re.compile(r"from (\d+) to (\d+) bytes")
_ON_PLACES = ("write", "zero", "discard", "read", "status")


@dataclass(frozen=True)
class Recorded:
    """What happened to a volume until a check found damage.

    :ivar size: of the volume at its end, in bytes.
    """

    size: int
    moments: tuple[Moment, ...]

    def then(self, moment: Moment) -> Recorded:
        """Return the record with a further moment at its end."""
        return replace(self, moments=(*self.moments, moment))


def steps_of(moments: Sequence[Moment]) -> Iterator[Step]:
    """Yield the steps of a script that repeat moments."""
    lanes: dict[str, int] = {}
    last = "flush"  # a script begins with durable contents
    for one in moments:
        lane = lanes.setdefault(one.lane, len(lanes) % _CONNECTIONS + 1) if one.lane else 1
        match one.kind:
            case "write" | "prefill":
                found = _PATTERN.search(one.text)
                fill = int(found[1], 16) if found else -1
                yield Step("write", one.offset, one.length, one.fua, fill=fill, connection=lane)
            case "zero":
                yield Step("zero", one.offset, one.length, one.fua, connection=lane)
            case "discard" | "read":
                yield Step(one.kind, one.offset, one.length, connection=lane)
            case "flush" if last != "flush":
                yield Step("flush", connection=lane)
            case "close":
                yield Step("reopen", connection=lane)
            case "error" if kind := _kind_of(one.text):
                fua = kind in ("write", "zero", "discard") and "FUA" in one.text.upper()
                yield Step(kind, one.offset, one.length, fua, connection=lane)
            case "restart":
                yield Step("restart")
            case "cut" if one.text == KILLED:
                yield Step("kill")
            case "cut":
                seed = one.text.removeprefix("seed ")
                yield Step("power-cut", seed=int(seed) if seed.isdigit() else 0)
            case "resize" if sizes := _SIZES.fullmatch(one.text):
                yield Step("resize", size=int(sizes[2]))
            case "snapshot" if one.text.endswith("was taken"):
                yield Step("snapshot")
        last = one.kind


def _kind_of(text: str) -> str:
    """Return the step that a request in words is; "" if no step is."""
    word = text.removeprefix("qemu-io ").split()[0].strip(":").lower() if text else ""
    return _WORDS.get(word, "")


def asked_by(request: str) -> Moment | None:
    """Return the read that found damage, from its text in a finding; None for other requests."""
    if (found := _READ.search(request)) is not None:
        return Moment("read", 0, int(found[1]), int(found[2]))
    if (found := _READ_OF.search(request)) is not None:
        return Moment("read", 0, int(found[2]), int(found[1]))
    return None


def scripts_of(
    record: Recorded, places: Sequence[tuple[int, int]], *, with_status: bool = False
) -> list[tuple[str, Script]]:
    """Return scripts of a record, the shortest first, each with what it is made of.

    Requests to a volume that is too large for a script are moved to a smaller one.

    :param places: offset and length of what is damaged: the shorter scripts have the requests
        there, and those in the same 64 KiB. Without any, there is only the script of all requests.
    :param with_status: ask for the block status at the end.
    """
    moments = record.moments[-MOST:]
    size = _first_size(record)
    begun = next((one for one in record.moments if one.kind in CHANGES), None)
    is_whole = begun is not None and begun.kind == "prefill" and begun.length >= size
    parts: list[tuple[str, Callable[[Moment], bool]]] = []
    if places:
        parts.append(("the requests to the damaged place", lambda one: _is_near(one, places, 1)))
        near = "the requests to the damaged place and to the 64 KiB around it"
        parts.append((near, lambda one: _is_near(one, places, _UNIT)))
    parts.append(("all requests to the volume", lambda _: True))
    made: list[tuple[str, Script]] = []
    for about, is_part in parts:
        chosen = [one for one in moments if is_part(one)]
        steps = tuple(steps_of(chosen if not is_whole else _without_whole_prefill(chosen, size)))
        script = _on_smaller_volume(Script(size, steps, prefill=is_whole), places)
        if script is None or not script.steps:
            continue
        if with_status:
            script = replace(script, steps=(*script.steps, Step("status", 0, script.size)))
        if fits(script) and all(script != one for _, one in made):
            moved = ", on a smaller volume" if script.size != size else ""
            made.append((f"{about}{moved}", script))
    return made


def _without_whole_prefill(moments: Sequence[Moment], size: int) -> list[Moment]:
    return [one for one in moments if one.kind != "prefill" or one.length < size]


def _on_smaller_volume(script: Script, places: Sequence[tuple[int, int]]) -> Script | None:
    """Return a script on a volume of `SIZE_MAX` at most; None if there is none.

    It has the parts of the requests in a window around the damage, moved by a multiple of 16 MiB,
    so that alignments stay. The distance to the end of the volume stays too, where it is short.
    """
    if script.size <= SIZE_MAX:
        return script
    if not places or any(one.do == "resize" for one in script.steps):
        return None
    by = min(offset for offset, _ in places) // _MOVED * _MOVED
    end = min(script.size, by + SIZE_MAX - 2 * _ROUND)
    steps = [_within(one, by, end) for one in script.steps]
    left = tuple(one for one in steps if one is not None)
    highest = max((one.offset + one.length for one in left), default=0)
    size = end - by if end == script.size else -(-highest // _ROUND) * _ROUND + _ROUND
    return replace(script, size=size, steps=left) if any(one.length for one in left) else None


def _within(step: Step, start: int, end: int) -> Step | None:
    """Return the part of a step in a window, from its beginning on; None if there is none."""
    if not step.length:
        return step
    first, after = max(step.offset, start), min(step.offset + step.length, end)
    return replace(step, offset=first - start, length=after - first) if first < after else None


def _first_size(record: Recorded) -> int:
    """Return the size that the volume had before the first of the moments that count."""
    resized = (one for one in record.moments[-MOST:] if one.kind == "resize")
    sizes = next((found for one in resized if (found := _SIZES.fullmatch(one.text))), None)
    return int(sizes[1]) if sizes else record.size


def _is_near(one: Moment, places: Sequence[tuple[int, int]], unit: int) -> bool:
    if one.kind not in _ON_PLACES or not one.length:
        return True
    return any(
        one.offset // unit <= (offset + length - 1) // unit
        and offset // unit <= (one.offset + one.length - 1) // unit
        for offset, length in places
    )


def fits(script: Script) -> bool:
    """Return whether all requests of a script are inside the volume; False without any."""
    size = script.size
    for step in script.steps:
        if step.do == "resize":
            size = step.size
        if step.offset + step.length > size or not 0 <= size <= SIZE_MAX or step.offset < 0:
            return False
    return bool(script.steps)


def with_no_hole(script: Script) -> Script | None:
    """Return the script with NO_HOLE in all its zeroes; None without zeroes.

    A record does not say which zeroes had the flag.
    """
    if not any(one.do == "zero" for one in script.steps):
        return None
    return replace(
        script,
        steps=tuple(replace(s, no_hole=True) if s.do == "zero" else s for s in script.steps),
    )

"""The timeline of a guest: moments of its agent, of QMP's events, and of its console."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qbdcheck.programs.qmp import Event


@dataclass(frozen=True)
class Moment:
    """An entry of the timeline: seconds since the case began, the channel and the text."""

    at_s: float
    channel: str
    text: str


def event_moments(sources: Mapping[str, Sequence[Event]], wall_s: float) -> Iterator[Moment]:
    """Yield the events of QEMU (by the name "") and of backends by their names.

    :param wall_s: the guest's start, in seconds since the epoch.
    """
    for name, events in sources.items():
        for event in events:
            stamp = event["timestamp"]
            at_s = stamp["seconds"] + stamp["microseconds"] / 1e6 - wall_s
            text = f"{name}: {_event_text(event)}" if name else _event_text(event)
            yield Moment(at_s, "backend" if name else "event", text)


def console_moments(lines: Sequence[str], boots: Sequence[tuple[int, float]]) -> Iterator[Moment]:
    """Yield the lines of the console that have a time.

    :param boots: for each start of the kernel, the lines before it and the offset of its clock.
    """
    for index, line in enumerate(lines):
        stamped = line.startswith("[") and "]" in line
        number = line[1:].partition("]")[0].strip() if stamped else ""
        with contextlib.suppress(ValueError):
            zero_s = next((is_ for at, is_ in reversed(boots) if at <= index), 0.0)
            yield Moment(float(number) - zero_s, "console", line)


def _event_text(event: Mapping[str, Any]) -> str:
    data = event.get("data", {})
    return " ".join([str(event["event"]), *(f"{key}={value}" for key, value in data.items())])

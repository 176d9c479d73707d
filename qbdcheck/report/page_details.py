"""The parts of a failure's text: what is wrong, the diff of the output, and the traceback."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby

_FRAME = re.compile(r"^(?:\S.*:\d+: in \S|\S.*:\d+: \w+$|\s*File \".*\", line \d+)")
_DIFF_STARTS = (("+++", "file"), ("---", "file"), ("@@", "hunk"), ("+", "added"), ("-", "gone"))


@dataclass(frozen=True)
class Details:
    """The text of the error, the lines of the diff as (class, line), and the frames."""

    error: str
    diff: tuple[tuple[str, str], ...]
    frames: str


def split_details(details: str) -> Details:
    """Split the details of a case; every line is in one part."""
    marked = list(_marked(details.splitlines()))
    parts = {"error": [], "diff": [], "frame": []}  # type: dict[str, list[str]]
    for part, lines in groupby(marked, key=lambda one: one[0]):
        parts[part] += [line for _, line in lines]
    return Details(
        error="\n".join(_without_margin(line) for line in parts["error"]).strip("\n"),
        diff=tuple((_diff_class(line), line) for line in parts["diff"]),
        frames="\n".join(parts["frame"]),
    )


def _marked(lines: list[str]) -> list[tuple[str, str]]:
    """Return each line with its part: error, diff, or frame."""
    marked = []
    part = "error"
    for number, line in enumerate(lines):
        bare = _without_margin(line)
        following = _without_margin(lines[number + 1]) if number + 1 < len(lines) else ""
        if bare.startswith("--- ") and following.startswith("+++ "):
            part = "diff"
        elif part == "diff" and not bare.startswith(("+", "-", "@@", " ", "\\")):
            part = "error"
        if part != "diff":
            part = _outside_diff(line, part)
        marked.append((part, bare if part == "diff" else line))
    return marked


def _outside_diff(line: str, part: str) -> str:
    if _FRAME.match(line):
        return "frame"
    return "frame" if part == "frame" and line.startswith((" ", ">")) else "error"


def _without_margin(line: str) -> str:
    """Return a line without the margin of pytest, which is ``E`` and three spaces."""
    return line[4:] if line.startswith("E   ") else line.removeprefix("E") if line == "E" else line


def _diff_class(line: str) -> str:
    return next((name for start, name in _DIFF_STARTS if line.startswith(start)), "same")

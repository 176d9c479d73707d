"""The parts of a failure's text: what is wrong, the diff of the output, and the traceback."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby, takewhile

_FRAME = re.compile(r"^(?:\S.*:\d+: in \S|\S.*:\d+: \w+$|\s*File \".*\", line \d+)")
_MACHINE = re.compile(r"^(--- |\+\+\+ )/.*/(?=golden/)")
"""The part of a golden's path that is only of the machine of the run."""
_WORD = re.compile(r"\s+|\w+|[^\w\s]")
_DIFF_STARTS = (("+++", "file"), ("---", "file"), ("@@", "hunk"), ("+", "added"), ("-", "gone"))


@dataclass(frozen=True)
class DiffLine:
    """A line of a diff: its class, and its parts as (text, whether it differs from its partner)."""

    kind: str
    parts: tuple[tuple[str, bool], ...]

    @property
    def text(self) -> str:
        """The whole line."""
        return "".join(text for text, _ in self.parts)


@dataclass(frozen=True)
class Details:
    """The text of the error, the lines of the diff, and the frames."""

    error: str
    diff: tuple[DiffLine, ...]
    frames: str


def split_details(details: str) -> Details:
    """Split the details of a case; every line is in one part."""
    marked = list(_marked(details.splitlines()))
    parts = {"error": [], "diff": [], "frame": []}  # type: dict[str, list[str]]
    for part, lines in groupby(marked, key=lambda one: one[0]):
        parts[part] += [line for _, line in lines]
    return Details(
        error="\n".join(_without_margin(line) for line in parts["error"]).strip("\n"),
        diff=tuple(_with_words([_MACHINE.sub(r"\1", line) for line in parts["diff"]])),
        frames="\n".join(parts["frame"]),
    )


def _with_words(lines: Sequence[str]) -> Iterator[DiffLine]:
    """Yield the lines; in lines that were replaced the words that differ are marked.

    Lines that are gone have those as partners that were added behind them, in order.
    """
    kinds = [_diff_class(line) for line in lines]
    at = 0
    while at < len(lines):
        gone = list(takewhile(lambda place: kinds[place] == "gone", range(at, len(lines))))
        first = at + len(gone)
        added = list(takewhile(lambda place: kinds[place] == "added", range(first, len(lines))))
        if not gone or len(gone) != len(added):
            end = max(first + len(added), at + 1)
            yield from (DiffLine(kinds[n], ((lines[n], False),)) for n in range(at, end))
            at = end
            continue
        pairs = [_words(lines[one], lines[two]) for one, two in zip(gone, added, strict=True)]
        yield from (DiffLine("gone", one) for one, _ in pairs)
        yield from (DiffLine("added", two) for _, two in pairs)
        at = first + len(added)


_Parts = tuple[tuple[str, bool], ...]


def _words(gone: str, added: str) -> tuple[_Parts, _Parts]:
    """Return the parts of two lines, without their signs compared word by word."""
    one, two = _WORD.findall(gone[1:]), _WORD.findall(added[1:])
    equal_one, equal_two = set[int](), set[int]()
    for start, other, length in SequenceMatcher(None, one, two, False).get_matching_blocks():
        equal_one |= set(range(start, start + length))
        equal_two |= set(range(other, other + length))

    def parts(sign: str, words: list[str], equal: set[int]) -> _Parts:
        marked = [(word, at not in equal and not word.isspace()) for at, word in enumerate(words)]
        return ((sign, False), *marked)

    return parts("-", one, equal_one), parts("+", two, equal_two)


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

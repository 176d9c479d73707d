"""perf on the host: show where QEMU and the backend spend their time, as a flame graph.

References: perf-record(1), perf-script(1). In a flame graph each function is a box on top of its
caller. The width of a box is its share of all samples.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from signal import SIGINT

from qbdcheck.errors import ProgramError
from qbdcheck.programs.process import Process, run

HERTZ = 199
"""Samples per second and CPU. The number shares no divisor with usual timer frequencies."""
_STOP_S = 30.0
_SCRIPT_S = 120.0
_FRAME = re.compile(r"^\s+[0-9a-f]+ (?P<symbol>.+?)(?:\+0x[0-9a-f]+)? \((?P<object>.*)\)$")
_OF_TCG = re.compile(r"perf-\d+\.map")
_WIDTH, _ROW, _TITLE, _CHARACTER = 1200, 17, 40, 7
LEAST = 0.002
"""Functions with a smaller share of the samples are left out of a graph."""
DEEPEST = 64
"""Frames of a stack that a graph shows at most."""


class PerfRecording:
    """A running `perf record` of some processes, with their call chains.

    :param pids: processes to record; their later children are recorded too.
    :raise ProgramError: perf is missing.
    """

    def __init__(self, pids: Sequence[int], directory: Path, name: str) -> None:
        self._data = directory / f"{name}.perf.data"
        record = ["perf", "record", "-q", "-g", "-F", str(HERTZ), "-o", str(self._data)]
        self._process = Process(
            [*record, "-p", ",".join(map(str, pids))], directory, f"{name}.perf"
        )

    def stop(self) -> Counter[str]:
        """End the recording. Return the number of samples of each stack, `program;caller;callee`.

        :raise ProgramError: perf is not permitted here, or took no sample.
        """
        self._process.stop(SIGINT, _STOP_S)
        if not self._data.exists() or not self._data.stat().st_size:
            raise ProgramError(f"perf: {self._process.describe()}", ["perf"], None)
        script = run(["perf", "script", "-i", self._data], timeout_s=_SCRIPT_S)
        self._data.unlink()
        stacks = fold(script.stdout)
        if not stacks:
            raise ProgramError("perf: no sample was taken", ["perf"], None)
        return stacks


def fold(script: str) -> Counter[str]:
    """Return the number of samples of each stack in the output of `perf script`, root first."""
    stacks: Counter[str] = Counter()
    for sample in script.split("\n\n"):
        head, *rows = sample.strip("\n").splitlines() or [""]
        program = re.match(r"\s*(.+?)\s+\d+(?:/\d+)?\s+(?:\[\d+\]\s+)?\d+\.\d+:", head)
        if program is not None:
            frames = [*_symbols(rows)][::-1]
            stacks[";".join([program[1], *frames])] += 1
    return stacks


def _symbols(rows: Iterable[str]) -> Iterator[str]:
    for row in rows:
        if found := _FRAME.match(row):
            name = found["symbol"]
            if name == "[unknown]":
                place = Path(found["object"]).name.strip("[]")
                # Code that TCG translated belongs to no file.
                name = "[translated]" if _OF_TCG.fullmatch(place) else f"[{place}]"
            yield name.replace(";", ":")


@dataclass
class _Box:
    """A function at one place of the call tree; ``before``: its samples in an earlier recording."""

    count: int = 0
    before: int = 0
    callees: dict[str, _Box] = field(default_factory=dict)

    def add(self, names: Sequence[str], count: int, before: int = 0) -> None:
        """Add samples of a stack below this function."""
        box = self
        box.count += count
        box.before += before
        for name in names:
            box = box.callees.setdefault(name, _Box())
            box.count += count
            box.before += before


def flame_graph(stacks: Counter[str], title: str) -> str:
    """Return an SVG. Hovering over a box shows its function and its share.

    Frames deeper than `DEEPEST` are one box, and functions with less than `LEAST` of all samples
    are left out, so that a graph of many small stacks stays readable.
    """
    root = _Box()
    for stack, count in stacks.items():
        root.add(_capped(stack), count)
    return _drawn(root, title, _of_name)


def flame_difference(before: Counter[str], after: Counter[str], title: str) -> str:
    """Return an SVG of the second recording, coloured by the change of each function's share.

    Red functions have a larger share of the samples than before, blue ones a smaller share, and
    white ones the same. Functions that are only in the first recording have no box.
    """
    root = _Box()
    for stack, count in after.items():
        root.add(_capped(stack), count, before.get(stack, 0))
    for stack in before.keys() - after.keys():
        root.add(_capped(stack), 0, before[stack])
    return _drawn(root, title, _of_change)


def _capped(stack: str) -> list[str]:
    names = stack.split(";")
    return names if len(names) <= DEEPEST else [*names[: DEEPEST - 1], "[deeper]"]


def _of_name(name: str, _box: _Box, _root: _Box) -> tuple[str, str]:
    """Return the colour of a function, which is the same in every graph, and no remark."""
    return f"hsl({zlib.crc32(name.encode()) % 50},85%,65%)", ""


def _of_change(_name: str, box: _Box, root: _Box) -> tuple[str, str]:
    """Return the colour of a change of share, and the change in words."""
    change = box.count / (root.count or 1) - box.before / (root.before or 1)
    light = 100 - min(abs(change) * 400, 50)
    return f"hsl({0 if change > 0 else 220},90%,{light:.0f}%)", f", {change:+.1%}"


_Colour = Callable[[str, _Box, _Box], tuple[str, str]]


def _drawn(root: _Box, title: str, colour: _Colour) -> str:
    height = _TITLE + _ROW * (_depth(root, root.count or 1) + 1)
    size = f'width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="monospace" font-size="11">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#fdfdf8"/>',
        f'<text x="10" y="22" font-size="15">{escape(title)}</text>',
    ]
    parts += _boxes(root, 0.0, 0, root, height, colour=colour)
    return "\n".join([*parts, "</svg>\n"])


def _depth(box: _Box, total: int) -> int:
    """Return the number of rows of boxes that are drawn above a box."""
    wide = [one for one in box.callees.values() if one.count >= LEAST * total]
    return max((1 + _depth(one, total) for one in wide), default=0)


def _boxes(
    box: _Box, left: float, level: int, root: _Box, height: int, *, colour: _Colour
) -> Iterator[str]:
    total = root.count or 1
    for name, one in sorted(box.callees.items()):
        width = one.count / total * _WIDTH
        if one.count and one.count >= LEAST * total:
            top = height - _ROW * (level + 1)
            fill, remark = colour(name, one, root)
            label = escape(name[: max(0, int((width - 4) / _CHARACTER))])
            share = f"{one.count} samples, {one.count / total:.1%}{remark}"
            yield (
                f"<g><title>{escape(name)}: {share}</title>"
                f'<rect x="{left:.1f}" y="{top}" width="{max(width - 0.5, 0.5):.1f}" '
                f'height="{_ROW - 1}" rx="1" fill="{fill}"/>'
                f'<text x="{left + 2:.1f}" y="{top + 12}">{label}</text></g>'
            )
            yield from _boxes(one, left, level + 1, root, height, colour=colour)
        left += width


def busiest(stacks: Counter[str], count: int = 3) -> list[tuple[str, float]]:
    """Return the functions that were running themselves in most samples: (name, share of all)."""
    own: Counter[str] = Counter()
    for stack, number in stacks.items():
        own[stack.rpartition(";")[2]] += number
    total = sum(own.values()) or 1
    return [(name, number / total) for name, number in own.most_common(count)]

"""perf on the host: show where QEMU and the backend spend their time, as a flame graph.

References: perf-record(1), perf-script(1). In a flame graph each function is a box on top of its
caller. The width of a box is its share of all samples.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
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
_LEAST = 0.5
"""Boxes narrower than this many pixels are left out."""


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
    """A function at one place of the call tree."""

    count: int = 0
    callees: dict[str, _Box] = field(default_factory=dict)


def flame_graph(stacks: Counter[str], title: str) -> str:
    """Return an SVG. Hovering over a box shows its function and its share."""
    root = _Box()
    depth = 0
    for stack, count in stacks.items():
        box = root
        box.count += count
        names = stack.split(";")
        depth = max(depth, len(names))
        for name in names:
            box = box.callees.setdefault(name, _Box())
            box.count += count
    height = _TITLE + _ROW * (depth + 1)
    size = f'width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="monospace" font-size="11">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#fdfdf8"/>',
        f'<text x="10" y="22" font-size="15">{escape(title)}</text>',
    ]
    parts += _boxes(root, 0.0, 0, root.count or 1, height)
    return "\n".join([*parts, "</svg>\n"])


def _boxes(box: _Box, left: float, level: int, total: int, height: int) -> Iterator[str]:
    for name, one in sorted(box.callees.items()):
        width = one.count / total * _WIDTH
        if width >= _LEAST:
            top = height - _ROW * (level + 1)
            # A function has the same colour in every graph.
            hue = zlib.crc32(name.encode()) % 50
            label = escape(name[: max(0, int((width - 4) / _CHARACTER))])
            yield (
                f"<g><title>{escape(name)}: {one.count} samples, {one.count / total:.1%}</title>"
                f'<rect x="{left:.1f}" y="{top}" width="{max(width - 0.5, _LEAST):.1f}" '
                f'height="{_ROW - 1}" rx="1" fill="hsl({hue},85%,65%)"/>'
                f'<text x="{left + 2:.1f}" y="{top + 12}">{label}</text></g>'
            )
            yield from _boxes(one, left, level + 1, total, height)
        left += width


def busiest(stacks: Counter[str], count: int = 3) -> list[tuple[str, float]]:
    """Return the functions that were running themselves in most samples: (name, share of all)."""
    own: Counter[str] = Counter()
    for stack, number in stacks.items():
        own[stack.rpartition(";")[2]] += number
    total = sum(own.values()) or 1
    return [(name, number / total) for name, number in own.most_common(count)]

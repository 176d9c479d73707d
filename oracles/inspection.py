"""``python -m oracles.stamps inspect IMAGE``: a map of an image by what its sectors say."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oracles.damage_map import svg
from oracles.sector_damage import describe_bytes
from oracles.stamps import SECTOR, Words, fill_keys, header_of, sector_words, sound

_STEP = 4 << 20
"""Bytes looked at together."""


@dataclass(frozen=True)
class Stretch:
    """A run of sectors of which the same can be said. ``first`` and ``count`` are in sectors."""

    first: int
    count: int
    text: str


def stretches(image: Path, offset: int = 0, length: int | None = None) -> Iterator[Stretch]:
    """Describe an image, sector by sector, neighbours that are alike as one.

    :param offset: where to begin, in bytes; a multiple of 512.
    :param length: how much to look at, in bytes; by default up to the end.
    """
    size = image.stat().st_size
    end = size if length is None else min(size, offset + length)
    current: Stretch | None = None
    with image.open("rb") as file:
        file.seek(offset)
        for start in range(offset, end, _STEP):
            data = file.read(min(_STEP, end - start))
            padded = data + bytes(-len(data) % SECTOR)
            for row, text in enumerate(_describe(sector_words(padded), start // SECTOR)):
                sector = start // SECTOR + row
                if current and current.text == text:
                    current = Stretch(current.first, current.count + 1, text)
                    continue
                if current:
                    yield current
                current = Stretch(sector, 1, text)
    if current:
        yield current


def _describe(words: Words, first: int) -> Iterator[str]:
    whole = sound(words)
    empty = (words == 0).all(axis=1)
    keys = fill_keys(words)
    agreeing = (keys == keys[:, :1]).sum(axis=1)
    for row in range(len(words)):
        if empty[row]:
            yield "zeroes"
        elif whole[row]:
            header = header_of(words[row])
            moved = first + row - header.lba
            what = "prefill" if header.generation == 0 else f"write #{header.operation}"
            text = f"{what}, generation {header.generation}, writer {header.writer}"
            text += f", run {header.run:#x}, volume {header.volume:#x}"
            yield text + (f", MISDIRECTED by {moved:+d} sectors" if moved else "")
        elif agreeing[row] == keys.shape[1]:
            yield "stamp with a damaged header"
        elif int(np.max(np.unique(keys[row], return_counts=True)[1])) > 2:
            yield "part of a stamp: torn, or damaged"
        else:
            yield describe_bytes(words[row].tobytes())


def main(arguments: list[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m oracles.stamps", description="What stands in the sectors of a disk image."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    inspect = commands.add_parser("inspect", help="print a table of an image")
    inspect.add_argument("image", type=Path)
    inspect.add_argument("--offset", type=int, default=0, help="bytes, a multiple of 512")
    inspect.add_argument("--length", type=int, default=None, help="bytes")
    inspect.add_argument("--svg", type=Path, default=None, help="write a map of it to this file")
    options = parser.parse_args(arguments)
    if options.offset % SECTOR:
        parser.error(f"--offset {options.offset} is not a multiple of {SECTOR}")
    try:
        rows = list(stretches(options.image, options.offset, options.length))
    except OSError as error:
        parser.error(f"cannot read {options.image}: {error.strerror}")
    if options.svg is not None:
        try:
            options.svg.write_text(svg(rows, str(options.image)), encoding="utf-8")
        except OSError as error:
            parser.error(f"cannot write {options.svg}: {error.strerror}")
    print(f"{'sector':>12} {'sectors':>10} {'offset':>14}  content")  # noqa: T201  # its purpose
    for row in rows:
        line = f"{row.first:>12} {row.count:>10} {row.first * SECTOR:>14}  {row.text}"
        print(line)  # noqa: T201
    return 0

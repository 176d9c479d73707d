"""``python -m oracles.inspection IMAGE``: lists what the sectors of a disk image contain."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oracles.damage_map import KINDS, kind_of, owner_of, svg
from oracles.sector_damage import describe_bytes, judge_unsound, moved_stamp
from oracles.stamps import (
    HEADER_BYTES,
    MAGIC,
    SECTOR,
    Header,
    Words,
    fill_keys,
    header_keys,
    header_of,
    sector_words,
    sound,
    stamp,
)

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
        else:
            yield _damaged(words[row], first + row)


def _damaged(row: Words, sector: int) -> str:
    """Say what a sector is that is no whole stamp; one that was a stamp explains itself."""
    seen = row.tobytes()
    keys = fill_keys(row[None])[0]
    values, counts = np.unique(keys, return_counts=True)
    if counts.max() <= 2:
        moved = moved_stamp(seen, sector)
        return f"damaged: a stamp, {moved}" if moved else describe_bytes(seen)
    header = _fitting_header(row, values[counts > 2])
    if header is None:
        if not seen[:HEADER_BYTES].strip(b"\0"):
            return "damaged: the end of a stamp after zeroes"
        return "damaged: a stamp whose header does not fit its data"
    place = header.lba * SECTOR
    wanted = stamp(place, SECTOR, header.identity, header.generation, header.operation)
    text = judge_unsound(seen, wanted.tobytes(), 0, header.lba, [header])[1]
    moved = f", MISDIRECTED by {sector - header.lba:+d} sectors" if sector != header.lba else ""
    return f"damaged: {text}{moved}"


def _fitting_header(row: Words, keys: Words) -> Header | None:
    """Return the header that some of the data call for: the one that is there, or but for a bit."""
    flips = np.tile(row, (1 + HEADER_BYTES * 8, 1))
    for bit in range(HEADER_BYTES * 8):
        flips[1 + bit, bit // 64] ^= np.uint64(1 << bit % 64)
    flips[:, 0] = np.frombuffer(MAGIC, dtype="<u8")
    fitting = np.flatnonzero(np.isin(header_keys(flips), keys))
    return header_of(flips[fitting[0]]) if len(fitting) else None


def marked_foreign(rows: list[Stretch]) -> list[Stretch]:
    """Return the same rows, those marked whose run or volume is not that of most sectors."""
    owner = owner_of(rows)
    return [
        Stretch(row.first, row.count, f"{row.text}, FOREIGN")
        if kind_of(row.text, owner) == "mixed"
        else row
        for row in rows
    ]


def summary(rows: list[Stretch]) -> list[str]:
    """Say how many sectors there are of each kind, the worst first."""
    owner = owner_of(rows)
    counts = {kind: 0 for kind, _, _ in KINDS}
    for row in rows:
        counts[kind_of(row.text, owner)] += row.count
    return [f"{counts[kind]:>12} {words}" for kind, _, words in reversed(KINDS) if counts[kind]]


def main(arguments: list[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m oracles.inspection",
        description="List what the sectors of a disk image contain.",
    )
    parser.add_argument("image", type=Path)
    parser.add_argument("--offset", type=int, default=0, help="bytes, a multiple of 512")
    parser.add_argument("--length", type=int, default=None, help="bytes")
    parser.add_argument("--svg", type=Path, default=None, help="write a map of it to this file")
    options = parser.parse_args(arguments)
    if options.offset % SECTOR:
        parser.error(f"--offset {options.offset} is not a multiple of {SECTOR}")
    try:
        found = list(stretches(options.image, options.offset, options.length))
    except OSError as error:
        parser.error(f"cannot read {options.image}: {error.strerror}")
    rows = marked_foreign(found)
    if options.svg is not None:
        try:
            options.svg.write_text(svg(rows, str(options.image)), encoding="utf-8")
        except OSError as error:
            parser.error(f"cannot write {options.svg}: {error.strerror}")
    print(f"{'sector':>12} {'sectors':>10} {'offset':>14}  content")  # noqa: T201  # its purpose
    for row in rows:
        line = f"{row.first:>12} {row.count:>10} {row.first * SECTOR:>14}  {row.text}"
        print(line)  # noqa: T201
    print("\nsectors", *summary(rows), sep="\n")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

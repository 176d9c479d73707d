"""``python -m oracles.inspection IMAGE``: lists what the sectors of a disk image contain."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from oracles.damage_map import KINDS, Kind, Stretch, kind_of, owner_of, svg
from oracles.diagnosis import diagnose
from oracles.sector_damage import content_of, moved_stamp
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
"""Bytes that are read at a time."""


def stretches(image: Path, offset: int = 0, length: int | None = None) -> Iterator[Stretch]:
    """Describe an image sector by sector; equal neighbours are one stretch.

    :param offset: where to begin, in bytes; a multiple of 512.
    :param length: in bytes; by default up to the end.
    """
    size = image.stat().st_size
    end = size if length is None else min(size, offset + length)
    current: Stretch | None = None
    with image.open("rb") as file:
        file.seek(offset)
        for start in range(offset, end, _STEP):
            data = file.read(min(_STEP, end - start))
            padded = data + bytes(-len(data) % SECTOR)
            for one in _describe(sector_words(padded), start // SECTOR):
                if current and current.text == one.text:
                    current = replace(current, count=current.count + 1)
                    continue
                if current:
                    yield current
                current = one
    if current:
        yield current


def _describe(words: Words, first: int) -> Iterator[Stretch]:
    whole = sound(words)
    empty = (words == 0).all(axis=1)
    for row in range(len(words)):
        sector = first + row
        if empty[row]:
            yield Stretch(sector, 1, "zeroes", Kind.ZEROES)
        elif whole[row]:
            yield _stamped(header_of(words[row]), sector)
        else:
            yield _damaged(words[row], sector)


def _stamped(header: Header, sector: int) -> Stretch:
    moved = sector - header.lba
    what = "prefill" if header.generation == 0 else f"write #{header.operation}"
    text = f"{what}, generation {header.generation}, writer {header.writer}"
    text += f", run {header.run:#x}, volume {header.volume:#x}"
    kind = Kind.PREFILL if header.generation == 0 else Kind.WRITTEN
    if moved:
        kind = Kind.MISDIRECTED
        text += f", MISDIRECTED by {moved:+d} sectors"
    return Stretch(sector, 1, text, kind, (header.run, header.volume))


def _damaged(row: Words, sector: int) -> Stretch:
    """Describe a sector that is no whole stamp; one that was a stamp explains itself."""
    seen = row.tobytes()
    keys = fill_keys(row[None])[0]
    values, counts = np.unique(keys, return_counts=True)
    if counts.max() <= 2:
        moved = moved_stamp(seen, sector)
        if moved is None:
            return Stretch(sector, 1, str(content_of(seen)), Kind.OTHER)
        return Stretch(sector, 1, f"damaged: a stamp, shifted by {moved:+d} bytes", Kind.DAMAGED)
    header = _fitting_header(row, values[counts > 2])
    if header is None:
        what = "a stamp whose header does not fit its data"
        if not seen[:HEADER_BYTES].strip(b"\0"):
            what = "the end of a stamp after zeroes"
        return Stretch(sector, 1, f"damaged: {what}", Kind.DAMAGED)
    place = header.lba * SECTOR
    wanted = stamp(place, SECTOR, header.identity, header.generation, header.operation)
    (finding,) = diagnose(seen, place, wanted, candidates=lambda _: [header])
    text, kind = f"damaged: {finding.text}", Kind.DAMAGED
    if sector != header.lba:
        kind = Kind.MISDIRECTED
        text += f", MISDIRECTED by {sector - header.lba:+d} sectors"
    return Stretch(sector, 1, text, kind)


def _fitting_header(row: Words, keys: Words) -> Header | None:
    """Return the header that fits some of the data: as it is, or with one bit flipped."""
    flips = np.tile(row, (1 + HEADER_BYTES * 8, 1))
    for bit in range(HEADER_BYTES * 8):
        flips[1 + bit, bit // 64] ^= np.uint64(1 << bit % 64)
    flips[:, 0] = np.frombuffer(MAGIC, dtype="<u8")
    fitting = np.flatnonzero(np.isin(header_keys(flips), keys))
    return header_of(flips[fitting[0]]) if len(fitting) else None


def marked_foreign(rows: list[Stretch]) -> list[Stretch]:
    """Return the rows; mark those whose run or volume is not that of most sectors."""
    owner = owner_of(rows)
    return [
        replace(row, text=f"{row.text}, FOREIGN") if kind_of(row, owner) is Kind.MIXED else row
        for row in rows
    ]


def summary(rows: list[Stretch]) -> list[str]:
    """Return the number of sectors of each kind, the worst first."""
    owner = owner_of(rows)
    counts = dict.fromkeys(Kind, 0)
    for row in rows:
        counts[kind_of(row, owner)] += row.count
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

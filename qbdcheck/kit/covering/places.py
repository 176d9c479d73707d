"""Places of requests by classes: sizes, offsets near edges, and relations between two requests.

All offsets and lengths are in bytes. Edges are where servers divide things: pages, clusters,
objects, powers of two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from types import MappingProxyType

from qbdcheck.kit.nbd_requests import widened

Place = tuple[int, int]
"""Offset and length."""

_SECTOR, _PAGE, _UNIT, _MIB = 512, 4096, 65536, 1 << 20

SIZES: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "part of a sector": (1, 7, 100, 300, 511),
        "512": (512,),
        "1K": (1024,),
        "4K-512": (_PAGE - 512,),
        "4K": (_PAGE,),
        "4K+512": (_PAGE + 512,),
        "odd below 64K": (5001, 12_345, 30_003, 50_009),
        "8K-32K": (8192, 16_384, 20_480, 32_768),
        "64K-512": (_UNIT - 512,),
        "64K": (_UNIT,),
        "64K+512": (_UNIT + 512,),
        "odd over 64K": (_UNIT + 1, 100_001, 200_003),
        "128K-512K": (2 * _UNIT, 3 * _UNIT, 8 * _UNIT),
        "1M-512": (_MIB - 512,),
        "1M": (_MIB,),
        "1M+512": (_MIB + 512,),
        "odd over 2M": (2 * _MIB + 4609, 3 * _MIB + 100),
        "odd over 4M": (4 * _MIB + 777, 6 * _MIB - 513),
        "16M and more": (16 * _MIB, 17 * _MIB + 512),
        "about 32M": (32 * _MIB, 32 * _MIB - 511, 32 * _MIB - 4095, 33 * _MIB + 1),
        "over 64M": (65 * _MIB, 70 * _MIB + 4096, 66 * _MIB + 77),
    }
)
"""Lengths of each class of sizes."""
_EDGES = {"4K": _PAGE, "64K": _UNIT, "1M": _MIB, "4M": 4 * _MIB}
_WAYS = ("at", "behind", "before", "ends at", "across")
OFFSETS = (
    "start",
    "end",
    "odd",
    *(f"{way} {edge}" for edge in _EDGES for way in _WAYS),
    "across a power of two",
    "high",
)
"""Classes of offsets. ``behind`` and ``before``: by one sector."""
LARGE = ("odd over 2M", "odd over 4M", "16M and more", "about 32M", "over 64M")
"""Classes of sizes of which a request takes milliseconds; 32 MiB is the usual maximum block."""
LARGE_AT = ("odd", "end", "across 64K", "across a power of two")
"""Classes of offsets at which they are tried."""
SHAPES: Mapping[str, tuple[tuple[str, str], ...]] = MappingProxyType(
    {
        "part of a sector": (("part of a sector", "odd"),),
        "a sector": (("512", "at 4K"), ("512", "before 64K"), ("512", "behind 64K")),
        "part of a page": (("1K", "behind 4K"), ("4K-512", "behind 4K"), ("4K-512", "at 64K")),
        "a page": (("4K", "at 4K"), ("4K", "at 64K"), ("4K", "ends at 64K")),
        "across pages": (("1K", "across 4K"), ("4K", "across 4K"), ("4K+512", "at 4K")),
        "pages": (("8K-32K", "at 4K"),),
        "any bytes": (("odd below 64K", "odd"),),
        "the start of a unit": (("8K-32K", "at 64K"), ("odd below 64K", "at 64K")),
        "the end of a unit": (("8K-32K", "ends at 64K"), ("odd below 64K", "ends at 64K")),
        "almost a unit": (("64K-512", "at 64K"), ("64K-512", "behind 64K")),
        "a unit": (("64K", "at 64K"),),
        "a unit and more": (("64K+512", "at 64K"), ("64K+512", "before 64K")),
        "across units": (("8K-32K", "across 64K"), ("64K", "across 64K"), ("odd over 64K", "odd")),
        "units": (("128K-512K", "at 64K"),),
        "across objects": (("8K-32K", "across 1M"), ("odd over 64K", "across 1M")),
        "an object": (("1M", "at 1M"),),
        "an object and more": (("1M+512", "at 1M"), ("1M+512", "before 1M")),
        "at the start": (("4K", "start"), ("odd below 64K", "start")),
        "at the end": (("512", "end"), ("8K-32K", "end"), ("odd below 64K", "end")),
    }
)
"""Sizes and offsets that belong together: what of the divisions of a server a request touches.

A page has 4 KiB here, a unit 64 KiB, an object 1 MiB."""

RELATIONS = (
    "same",
    "over its start",
    "over its end",
    "inside",
    "around",
    "the units around",
    "first half",
    "last half",
    "a sector of it",
    "just before",
    "just behind",
    "a power of two away",
    "elsewhere",
)
"""Where an earlier request was, as seen from a later one."""


def place(random: Random, size: str, offset: str, volume: int, low: int = 0) -> Place:
    """Return a place of these classes in a volume of ``volume`` bytes, from ``low`` on."""
    length = min(random.choice(SIZES[size]), volume - low)
    room = volume - low - length
    if offset == "start":
        return low, length
    if offset == "end":
        return volume - length, length
    if offset == "odd":
        return low + min(room, random.randrange(room + 1) | 1), length
    if offset == "high":
        return low + room - random.randrange(room // 8 + 1) // _SECTOR * _SECTOR, length
    if offset == "across a power of two":
        edges = [1 << bits for bits in range(20, 63) if low + length < 1 << bits < volume - length]
        edge = random.choice(edges or [low + volume // 2])
        return _fitted(edge - length // 2, length, volume, low)
    way, _, name = offset.rpartition(" ")
    edge = _edge(random, _EDGES[name], low, volume)
    moved = {"at": 0, "behind": _SECTOR, "before": -_SECTOR, "ends at": -length}
    shift = moved.get(way, -(length // 2 // _SECTOR * _SECTOR or length // 2))
    return _fitted(edge + shift, length, volume, low)


def _edge(random: Random, unit: int, low: int, volume: int) -> int:
    """Return a multiple of a unit, and if possible of no larger one."""
    first, last = low // unit + 1, max(low // unit + 1, (volume - 1) // unit)
    for _ in range(4):
        number = random.randrange(first, last + 1)
        if number * unit % (16 * unit if unit < _MIB else 4 * unit):
            break
    return number * unit


def _fitted(at: int, length: int, volume: int, low: int = 0) -> Place:
    return max(low, min(at, volume - length)), length


def related(random: Random, relation: str, at: int, length: int, volume: int) -> Place:
    """Return a place with this relation to the given one; it stays within the volume."""
    half, page = max(1, length // 2), random.choice((512, _PAGE, 8192))
    other = random.choice((512, _PAGE, _PAGE, 5000, 16_384, _UNIT))
    sector = at + random.choice((0, (length - 1) // _SECTOR * _SECTOR, random.randrange(length)))
    near = random.choice((half, page))
    start, count = {
        "same": (at, length),
        "over its start": (at - page, page + min(near, length)),
        "over its end": (at + length - min(near, length), min(near, length) + page),
        "inside": (at + length // 4, half),
        "around": (at - page, length + page + random.choice((page, _SECTOR))),
        "the units around": widened(at, length, random.choice((_PAGE, _UNIT))),
        "first half": (at, half),
        "last half": (at + length - half, half),
        "a sector of it": (sector, min(_SECTOR, at + length - sector)),
        "just before": (at - other, other),
        "just behind": (at + length, other),
        "a power of two away": _far(random, at, length, volume),
        "elsewhere": (random.randrange(max(1, volume - length)), length),
    }[relation]
    end = min(start + count, volume)
    start = max(0, start)
    return (start, end - start) if start < end else (at, length)


def _far(random: Random, at: int, length: int, volume: int) -> Place:
    """Return a place as long, a power of two from 4 KiB on away."""
    steps = [sign << bits for bits in range(12, 63) for sign in (1, -1)]
    fits = [step for step in steps if at + step >= 0 and at + step + length <= volume]
    return at + random.choice([step for step in fits if abs(step) >= length] or [0]), length


def joined(places: Iterable[Place]) -> list[Place]:
    """Return places with those joined that overlap."""
    found: list[Place] = []
    for at, length in sorted(places):
        if found and at <= found[-1][0] + found[-1][1]:
            start, count = found[-1]
            found[-1] = start, max(count, at + length - start)
        else:
            found.append((at, length))
    return found

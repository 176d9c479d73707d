"""Legal oddities of a backend: each alone, and combinations that contain each pair of them.

An oddity sets one *factor* of the backend (its minimum block, the commands that it offers, the form
of its replies) to one value that documents allow. No case may accuse a backend for it. The target
``mutant:control-legal:has=no-flush+min-4096`` is the reference backend with these two.
"""

from __future__ import annotations

import importlib
import itertools
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mutants.controls import Control


class OddityError(ValueError):
    """A name is unknown, or two oddities exclude each other; the message is one line."""


@dataclass(frozen=True)
class Oddity:
    """One value of one factor.

    :ivar arguments: of the server, as one text.
    :ivar control: the control that makes it, ``MODULE:CLASS`` in mutants/; "" if the server itself
        does.
    """

    name: str
    factor: str
    arguments: str = ""
    control: str = ""


def _of(factor: str, **values: str) -> list[Oddity]:
    return [Oddity(name.replace("_", "-"), factor, text) for name, text in values.items()]


def _layers(factor: str, module: str = "controls", **values: str) -> list[Oddity]:
    return [
        Oddity(name.replace("_", "-"), factor, "", f"{module}:{text}")
        for name, text in values.items()
    ]


def _rare(factor: str, **values: str) -> list[Oddity]:
    return _layers(factor, "rare_controls", **values)


_ALL = (
    # sizes
    *_of(
        "minimum",
        min_512="--min-block 512",
        min_4096="--min-block 4096",
        min_16k="--min-block 16k",
        min_64k="--min-block 64k",
    ),
    *_of(
        "preferred",
        preferred_64k="--preferred-block 64k",
        preferred_1m="--preferred-block 1M",
        preferred_4m="--preferred-block 4M",
    ),
    *_rare("minimum", sizes_required="SizesRequired"),
    *_of("maximum", max_64k="--max-block 64k", max_1m="--max-block 1M"),
    *_rare("maximum", odd_maximum="OddMaximum"),
    # the handshake and the form of replies
    *_of(
        "headers",
        structured_headers="--no-extended",
        simple_headers="--no-extended --no-structured",
    ),
    *_of("handshake", no_fixed_newstyle="--no-fixed-newstyle --no-no-zeroes"),
    *_of("zeroes of the handshake", no_no_zeroes="--no-no-zeroes"),
    *_rare("list", list_refused="ListRefused", list_empty="ListEmpty"),
    *_rare("contexts", foreign_contexts="ContextsOfOthers", strict_contexts="StrictContexts"),
    *_rare("flags", unknown_flags="UnknownFlags", no_status_payload="NoStatusPayload"),
    # commands that are not offered; without FLUSH, what is answered must be durable
    *_of("flush", no_flush="--no-flush --write-cache through"),
    *_of("fua", no_fua="--no-fua"),
    *_layers("fua", fua_flushes="FuaFlushesAll"),
    *_of("trim", no_trim="--no-trim"),
    *_layers("trim", discard_noop="DiscardNoop", discard_partly="DiscardZeroesPartly"),
    *_rare("trim", discard_ff="DiscardLeavesOnes"),
    *_of("write zeroes", no_write_zeroes="--no-write-zeroes"),
    *_layers("write zeroes", zeroes_allocate="ZeroesAlwaysAllocate"),
    *_of("fast zero", no_fast_zero="--no-fast-zero"),
    *_layers("fast zero", slow_zeroes="ZeroesAreData"),
    *_of("cache", no_cache="--no-cache"),
    *_layers("cache", cache_einval="CacheRefused"),
    *_of("connections", no_multi_conn="--no-multi-conn"),
    *_of("df", no_df="--no-df"),
    *_rare("df", df_eoverflow="LongUnsplitRefused"),
    *_rare("long effects", long_effects_refused="LongEffectsRefused"),
    *_of("block status", no_block_status="--no-block-status"),
    *_layers(
        "block status",
        short_extents="ShortExtents",
        split_extents="SplitExtents",
        no_holes="NoHoles",
    ),
    *_rare("block status", long_extents="LongExtents", holes_settle="HolesSettle"),
    # replies
    *_layers("order", reorders="Reorders", slow="Slow"),
    *_rare("order", slow_flush="SlowFlush", naps="Naps"),
    *_layers("chunks", small_chunks="SmallChunks"),
    *_rare("chunks", chunks_backwards="ChunksBackwards"),
    *_layers("length 0", no_zero_length="ZeroLengthRefused"),
    *_rare("violations", violations_disconnect="ViolationsEndConnection"),
    # power cuts
    *_layers("power cuts", torn_writes="TearsWrites"),
)
ODDITIES: Mapping[str, Oddity] = {one.name: one for one in _ALL}
"""Each oddity by its name."""

SIZES = frozenset(("minimum", "preferred", "maximum", "handshake"))
"""Factors that set block sizes or hide them: with them a case cannot choose block sizes."""
_EXCLUDE = (
    ("no-fixed-newstyle", ("headers", "minimum", "preferred", "maximum", "df", "block status",
                           "chunks", "zeroes of the handshake", "list", "contexts")),
    ("simple-headers", ("df", "block status", "chunks", "contexts")),
    ("no-block-status", ("contexts",)),
    ("no-write-zeroes", ("fast zero",)),
    ("max-64k", ("preferred-1m", "preferred-4m")),
    ("max-1m", ("preferred-4m",)),
    # 2 ms for each of the thousands of replies that the status of a huge volume then needs
    ("slow", ("short-extents",)),
)  # fmt: skip
"""An oddity, and the factors or oddities that have no meaning together with it."""


def control_of(oddity: Oddity) -> type[Control] | None:
    """Return the control that makes an oddity; None if the server itself does."""
    if not oddity.control:
        return None
    module, _, name = oddity.control.partition(":")
    found: type[Control] = getattr(importlib.import_module(f"mutants.{module}"), name)
    return found


def parse(text: str) -> list[Oddity]:
    """Return the oddities of ``NAME+NAME``.

    :raise OddityError: a name is unknown, or two names exclude each other.
    """
    found = []
    for name in text.split("+"):
        if name not in ODDITIES:
            raise OddityError(f"unknown oddity '{name}'; known: {' '.join(ODDITIES)}")
        found.append(ODDITIES[name])
    for one, other in itertools.combinations(found, 2):
        if not are_compatible(one, other):
            raise OddityError(f"{one.name} and {other.name} exclude each other")
    return found


def are_compatible(one: Oddity, other: Oddity) -> bool:
    """Return whether a backend can have both."""
    if one.factor == other.factor:
        return False
    pairs = ((one, other), (other, one))
    return not any(
        first.name == name and {second.name, second.factor} & set(others)
        for first, second in pairs
        for name, others in _EXCLUDE
    )


def alone() -> list[str]:
    """Return the text of each oddity alone."""
    return list(ODDITIES)


def combined(seed: int) -> list[str]:
    """Return texts of combinations in which each pair that is possible occurs at least once.

    A greedy covering array: each combination starts with a pair that no earlier one has, and is
    filled with what adds the most new pairs. The same seed gives the same list.
    """
    chooser = random.Random(seed)
    missing = {
        frozenset((one.name, other.name))
        for one, other in itertools.combinations(_ALL, 2)
        if are_compatible(one, other)
    }
    rows = []
    while missing:
        first = chooser.choice(sorted(map(sorted, missing)))
        row = [ODDITIES[name] for name in first]
        while candidates := list(_fitting(row)):
            gains = {one.name: _new_pairs(one, row, missing) for one in candidates}
            best = max(gains.values())
            if not best:
                break
            row.append(chooser.choice([one for one in candidates if gains[one.name] == best]))
        missing -= {frozenset((a.name, b.name)) for a, b in itertools.combinations(row, 2)}
        rows.append("+".join(one.name for one in sorted(row, key=_ALL.index)))
    return rows


def drawn(seed: int, count: int) -> list[str]:
    """Return the texts of random combinations, each of 2 to 6 oddities.

    A combination of few oddities hides less than one of `combined`, because no case uses what an
    oddity switches off. The same seed gives the same list; a longer list begins like a shorter one.
    """
    chooser = random.Random(f"drawn {seed}")
    rows = []
    for _ in range(count):
        wanted = chooser.randint(2, 6)
        row: list[Oddity] = []
        while len(row) < wanted and (candidates := list(_fitting(row))):
            row.append(chooser.choice(candidates))
        rows.append("+".join(one.name for one in sorted(row, key=_ALL.index)))
    return rows


def _fitting(row: Iterable[Oddity]) -> Iterator[Oddity]:
    row = list(row)
    return (one for one in _ALL if all(are_compatible(one, other) for other in row))


def _new_pairs(one: Oddity, row: Iterable[Oddity], missing: set[frozenset[str]]) -> int:
    return sum(frozenset((one.name, other.name)) in missing for other in row)

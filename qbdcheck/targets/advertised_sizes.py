"""The block sizes that a target advertises, and its step between volumes, as the probe saw them.

A case makes volumes before it can ask the server. Sizes of volumes are multiples of the minimum
block, because the NBD document ("Block size constraints") says that the size of an export SHOULD be
one: a client cannot access the rest behind the last whole block. A target that makes volumes of
whole extents, as LVM does, rounds sizes up; then a case asks for whole extents at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

from qbdcheck.targets.description import Description

Sizes = tuple[int, int, int]
"""Minimum, preferred and maximum block in bytes."""
SMALL = 512
"""Bytes. A target with this minimum block or less gets volumes of any size."""
_known: dict[str, Sizes] = {}
_steps: dict[str, int] = {}


def remember(description: Description, sizes: Sizes | None) -> None:
    """Keep what a server of the target advertises; None if it advertises nothing."""
    if sizes is not None:
        _known[description.model_dump_json()] = sizes


def sizes_of(description: Description, options: Mapping[str, Any]) -> Sizes | None:
    """Return the sizes that a server of the target will advertise; None if they are unknown.

    :param options: of the target: min_block, preferred_block, max_block in bytes.
    """
    sizes = _known.get(description.model_dump_json())
    if "min_block" in options:
        minimum = int(options["min_block"])
        _, preferred, maximum = sizes or (1, 4096, 32 << 20)
        sizes = minimum, max(minimum, preferred), maximum
    return sizes


def remember_step(description: Description, step: int) -> None:
    """Keep the step between the sizes of volumes that a target makes, in bytes."""
    _steps[description.model_dump_json()] = step


def step_of(description: Description) -> int:
    """Return the step between the sizes of volumes of cases, in bytes.

    It is 1 if the target makes each size of whole sectors, or if its step is unknown. Otherwise it
    consists of whole sectors, because QEMU rounds the size that it shows up to sectors.
    """
    step = _steps.get(description.model_dump_json(), 1)
    return 1 if SMALL % step == 0 else math.lcm(step, SMALL)


class Rounds(Protocol):
    """A volume whose size is rounded, such as a Backend."""

    sizes: Sizes | None
    step: int


def usable_size(volume: Rounds, size: int) -> int:
    """Return a size of a volume, rounded up to what the target makes and clients reach."""
    return whole_blocks(size, volume.sizes, volume.step)


def whole_blocks(size: int, sizes: Sizes | None, step: int = 1) -> int:
    """Return a size of a volume in bytes, rounded up to what the target can make and clients reach.

    :param sizes: of its blocks; a minimum of up to 512 bytes rounds nothing.
    :param step: between the sizes that it makes.
    """
    minimum = sizes[0] if sizes is not None else 1
    unit = math.lcm(1 if minimum <= SMALL else minimum, step)
    return -(-size // unit) * unit

"""The block sizes that a target advertises, as the probe of the run saw them.

A case makes volumes before it can ask the server. Sizes of volumes are multiples of the minimum
block, because the NBD document ("Block size constraints") says that the size of an export SHOULD be
one: a client cannot access the rest behind the last whole block.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qbdcheck.targets.description import Description

Sizes = tuple[int, int, int]
"""Minimum, preferred and maximum block in bytes."""
SMALL = 512
"""Bytes. A target with this minimum block or less gets volumes of any size."""
_known: dict[str, Sizes] = {}


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
        _, preferred, maximum = sizes or (1, 4096, 0xFFFFFFFF)
        sizes = minimum, max(minimum, preferred), maximum
    return sizes


def whole_blocks(size: int, sizes: Sizes | None) -> int:
    """Return a size of a volume in bytes, rounded up to whole minimum blocks above 512 bytes."""
    minimum = sizes[0] if sizes is not None else 1
    return size if minimum <= SMALL else -(-size // minimum) * minimum

"""Policies: what cases demand of a target beyond the NBD document, each with its reason.

A profile waives a policy by name (``waives: [discard-old-or-zero]``). A MUST of the NBD document
has no entry here and cannot be waived.
"""

from __future__ import annotations

from typing import NamedTuple


class Policy(NamedTuple):
    """A demand that the NBD document does not make."""

    name: str
    sentence: str
    """What the target must do, as a sentence."""
    reason: str
    """Why cases demand it."""


_ALL = (
    Policy(
        "discard-old-or-zero",
        "A discarded range reads as the old data or as zeroes, sector by sector.",
        "The NBD document lets a discarded range read as anything. Guests and image formats"
        " assume that it reads as before or as zeroes.",
    ),
    Policy(
        "fresh-volume-reads-zero",
        "A volume that was just made reads as zeroes.",
        "The NBD document says nothing about it. A new volume with foreign data can reveal the"
        " data of another user, and qemu-img convert skips zeroes on a target that is zero.",
    ),
    Policy(
        "grown-part-reads-zero",
        "The new part of a volume that has grown reads as zeroes.",
        "QEMU and file systems assume it. Data that was cut off before must not come back.",
    ),
    Policy(
        "failed-write-old-or-new",
        "After a failed write each sector holds the old or the new data.",
        "The NBD document lets the range hold anything. Journals of file systems recover only"
        " if no third value appears.",
    ),
    Policy(
        "sector-writes-are-atomic",
        "A power cut leaves each sector of 512 bytes old or new, never mixed.",
        "Disks promise it, and file systems and databases build on it. The NBD document does not"
        " mention it.",
    ),
)
POLICIES = {policy.name: policy for policy in _ALL}
"""Each policy by its name."""

"""Read and print sizes: ``512``, ``4k``, ``64M``, ``1.5G``, ``100T``."""

from __future__ import annotations

from typing import Final

UNITS: Final = {unit: 1 << 10 * power for power, unit in enumerate(("", *"KMGTPE"))}
"""Bytes of each unit letter. Units are powers of 1024."""


def parse_size(text: str) -> int:
    """Return a size in bytes.

    Units are powers of 1024, in upper or lower case. "iB" or "B" may follow a unit.

    :raise ValueError: the text is not a size, or not a whole number of bytes.
    """
    upper = text.strip().upper()
    number = upper.rstrip("BIKMGTPE")
    unit = upper[len(number) :]
    unit = "" if unit == "B" else unit[:1] + unit[1:].removesuffix("IB").removesuffix("B")
    whole, _, fraction = number.partition(".")
    digits = whole + fraction
    if unit not in UNITS or not whole or not (digits.isascii() and digits.isdigit()):
        msg = f"{text!r} is not a size; write 512, 4k, 64M, 1.5G or 100T"
        raise ValueError(msg)
    size, rest = divmod(int(digits) * UNITS[unit], int(10 ** len(fraction)))
    if rest:
        msg = f"{text!r} is not a whole number of bytes"
        raise ValueError(msg)
    return size


def format_size(size: float, decimals: int = 1) -> str:
    """Return a size in bytes as text in its largest unit, such as ``64 MiB`` or ``1.5 GiB``.

    A whole number of units has no decimals.
    """
    unit = [unit for unit in UNITS if UNITS[unit] <= max(1, abs(size))][-1]
    scaled = size / UNITS[unit]
    number = f"{scaled:.0f}" if scaled == int(scaled) else f"{scaled:.{decimals}f}"
    return f"{number} {f'{unit}iB' if unit else 'bytes'}"


def exact_size(size: int) -> str:
    """Return a size as a whole number of its largest unit: ``1025 KiB``, ``513 bytes``."""
    units = [unit for unit in UNITS if size and size % UNITS[unit] == 0]
    unit = units[-1] if units else ""
    return f"{size // UNITS[unit]} {f'{unit}iB' if unit else 'bytes'}"

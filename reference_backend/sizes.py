"""Parse sizes like qemu-img: ``512``, ``4k``, ``64M``, ``1.5G``, ``100T``."""

from __future__ import annotations

_EXPONENTS = {"": 0, "B": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}


def parse_size(text: str) -> int:
    """Return bytes. Suffixes are powers of 1024, in upper or lower case, also with "iB" or "B".

    :raise ValueError: the text is not a size, or not a whole number of bytes.
    """
    upper = text.strip().upper()
    number = upper.rstrip("BIKMGTPE")
    suffix = upper[len(number) :]
    if len(suffix) > 1:
        suffix = suffix.removesuffix("IB").removesuffix("B")
    whole, _, fraction = number.partition(".")
    digits = whole + fraction
    if suffix not in _EXPONENTS or not whole or not (digits.isascii() and digits.isdigit()):
        msg = f"{text!r} is not a size (like 512, 4k, 64M, 1.5G, 100T)"
        raise ValueError(msg)
    scaled: int = int(digits) << 10 * _EXPONENTS[suffix]
    unit: int = 10 ** len(fraction)
    size, rest = divmod(scaled, unit)
    if rest:
        msg = f"{text!r} is not a whole number of bytes"
        raise ValueError(msg)
    return size

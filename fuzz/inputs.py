"""Inputs by number: each follows from the seed and its number alone, on any machine, in any order.

Half of them are made of chance, half by changing one of the corpus: inputs kept because each
reaches some place of the code first (``python -m fuzz SIDE --coverage SECONDS`` finds them).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
LENGTHS = (24, 60, 120, 240, 500)
"""Bytes of inputs made of chance."""
LONGEST = 1000


def corpus(side: str) -> list[bytes]:
    """Return the kept inputs of a side: one a line, in hexadecimal digits."""
    file = CORPUS / f"{side}.hex"
    return [bytes.fromhex(line) for line in file.read_text().split()] if file.exists() else []


def keep(side: str, inputs: Sequence[bytes]) -> None:
    """Replace the corpus of a side."""
    lines = sorted({one.hex() for one in inputs}, key=lambda line: (len(line), line))
    (CORPUS / f"{side}.hex").write_text("".join(f"{line}\n" for line in lines))


def make(seed: int, number: int, kept: Sequence[bytes]) -> bytes:
    """Return one input."""
    chance = random.Random(f"{seed}/{number}")
    if not kept or chance.random() < 0.5:
        return chance.randbytes(chance.choice(LENGTHS))
    changed = bytearray(chance.choice(kept))
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randrange(len(changed) + 1)
        how = chance.randrange(5)
        if how == 0 and at < len(changed):
            changed[at] ^= 1 << chance.randrange(8)
        elif how == 1 and at < len(changed):
            changed[at] = chance.randrange(256)
        elif how == 2:
            changed[at:at] = chance.randbytes(chance.choice((1, 2, 8)))
        elif how == 3:
            del changed[at : at + chance.choice((1, 2, 8))]
        else:
            changed[at:] = chance.choice(kept)[at:]
    return bytes(changed[:LONGEST])

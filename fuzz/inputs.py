"""Inputs by number: each depends only on the seed and its number, on any machine, in any order.

Half of them are random. The others are changed inputs of the corpus. The corpus has inputs that
each reach some code first (``python -m fuzz SIDE --coverage SECONDS`` finds them).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
LENGTHS = (24, 60, 120, 240, 500)
"""Lengths of random inputs in bytes."""
LONGEST = 1000


def corpus(side: str) -> list[bytes]:
    """Return the corpus of a side. The file has one input a line, in hexadecimal digits."""
    file = CORPUS / f"{side}.hex"
    return [bytes.fromhex(line) for line in file.read_text().split()] if file.exists() else []


def keep(side: str, inputs: Sequence[bytes]) -> None:
    """Replace the corpus of a side."""
    lines = sorted({one.hex() for one in inputs}, key=lambda line: (len(line), line))
    (CORPUS / f"{side}.hex").write_text("".join(f"{line}\n" for line in lines))


def make(seed: int, number: int, kept: Sequence[bytes]) -> bytes:
    """Return one input."""
    random_ = random.Random(f"{seed}/{number}")
    if not kept or random_.random() < 0.5:
        return random_.randbytes(random_.choice(LENGTHS))
    changed = bytearray(random_.choice(kept))
    for _ in range(random_.choice((1, 1, 2, 4))):
        at = random_.randrange(len(changed) + 1)
        how = random_.randrange(5)
        if how == 0 and at < len(changed):
            changed[at] ^= 1 << random_.randrange(8)
        elif how == 1 and at < len(changed):
            changed[at] = random_.randrange(256)
        elif how == 2:
            changed[at:at] = random_.randbytes(random_.choice((1, 2, 8)))
        elif how == 3:
            del changed[at : at + random_.choice((1, 2, 8))]
        else:
            changed[at:] = random_.choice(kept)[at:]
    return bytes(changed[:LONGEST])

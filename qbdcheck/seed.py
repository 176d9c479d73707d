"""One seed for a run; every random choice comes from a stream that is named after its use.

Two streams never share numbers, so a new use of randomness in one place does not change what
another place draws. This is the only module of the runner that imports ``random``.
"""

from __future__ import annotations

import hashlib
import random

SEED_LIMIT = 1 << 32
"""Seeds are below this: short enough to be typed again."""


class Seed(int):
    """A seed that is an int (for programs that take one) and the root of named streams."""

    def stream(self, name: str) -> random.Random:
        """A generator of its own for `name`; the same name gives the same numbers again."""
        return random.Random(f"{int(self)}/{name}")

    def derive(self, *names: object) -> Seed:
        """The seed of a part of the run, such as a case: a function of this seed and `names`."""
        text = "/".join([str(int(self)), *map(str, names)])
        digest = hashlib.sha256(text.encode()).digest()
        return Seed(int.from_bytes(digest[:8], "big") % SEED_LIMIT)


def new_seed() -> Seed:
    """A seed nobody chose, from the system's entropy: 0 <= seed < SEED_LIMIT."""
    return Seed(random.SystemRandom().randrange(SEED_LIMIT))


def case_seed(run_seed: int, case_id: str, image_format: str) -> Seed:
    """The seed of one case in a run, the same whatever else runs and in whatever order."""
    return Seed(run_seed).derive(case_id, image_format)


def repeat_seed(run_seed: int, repetition: int) -> Seed:
    """The run seed of repetition 0, 1, ...: the first has `run_seed` itself.

    ``--seed`` with the value of a later repetition gives that repetition again without the others.
    """
    return Seed(run_seed) if repetition == 0 else Seed(run_seed).derive("repetition", repetition)

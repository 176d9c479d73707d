"""The seed of a run. Each random choice comes from a stream that is named after its purpose.

Streams are independent: a new use of randomness in one place does not change the numbers that
another place draws. This is the only module of the runner that imports ``random``.
"""

from __future__ import annotations

import hashlib
import random

SEED_LIMIT = 1 << 32
"""Seeds are below this limit, so that they are short enough to type."""


class Seed(int):
    """A seed: an int for programs that take one, and the root of named streams."""

    def stream(self, name: str) -> random.Random:
        """Return a generator for `name`; the same seed and name give the same numbers."""
        return random.Random(f"{int(self)}/{name}")

    def derive(self, *names: object) -> Seed:
        """Return the seed of a part of the run, such as a case, from this seed and `names`."""
        text = "/".join([str(int(self)), *map(str, names)])
        digest = hashlib.sha256(text.encode()).digest()
        return Seed(int.from_bytes(digest[:8], "big") % SEED_LIMIT)


def new_seed() -> Seed:
    """Return a random seed from the system's entropy: 0 <= seed < SEED_LIMIT."""
    return Seed(random.SystemRandom().randrange(SEED_LIMIT))


def case_seed(run_seed: int, case_id: str, image_format: str) -> Seed:
    """Return the seed of a case in a run; it does not depend on other cases or on their order."""
    return Seed(run_seed).derive(case_id, image_format)


def repeat_seed(run_seed: int, repetition: int) -> Seed:
    """Return the run seed of repetition 0, 1, ...; repetition 0 has `run_seed` itself.

    ``--seed`` with the seed of a later repetition repeats only that repetition.
    """
    return Seed(run_seed) if repetition == 0 else Seed(run_seed).derive("repetition", repetition)

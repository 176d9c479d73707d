"""A busy machine is noisy, and the figure is a share."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbdcheck.perf import noise
from qbdcheck.perf.noise import Noise, spread_of
from qbdcheck.programs.process import Process


def test_spread_is_a_share_of_the_median() -> None:
    assert spread_of([2.0] * 9) == 0
    assert spread_of([1.0, 2.0, 3.0]) == pytest.approx(0.4)
    with pytest.raises(ValueError, match="no values"):
        spread_of([])


def test_programs_that_use_the_cpu_are_seen(tmp_path: Path) -> None:
    burn = ["python3", "-c", "while True: pass"]
    busy = [Process(burn, tmp_path, f"burn{number}") for number in range(noise.cores())]
    try:
        found = noise.measure(20)
    finally:
        for one in busy:
            one.kill()
    assert found.others > 0.3
    assert found.worst == max(found.others, found.spread)
    assert Noise(0.1, 0.2).worst == Noise(0.2, 0.1).worst

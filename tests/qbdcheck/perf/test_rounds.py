"""The order of targets changes, and noisy samples are taken again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qbdcheck.perf.rounds import NoisyError, make
from qbdcheck.perf.sample import Sample
from qbdcheck.perf.shapes import Shape
from tests.qbdcheck.perf.samples import SHAPES, sample


def test_targets_take_turns() -> None:
    order: list[str] = []

    def of(name: str, _shape: Shape) -> Sample:
        order.append(name)
        return sample()

    targets = {"a": lambda one: of("a", one), "b": lambda one: of("b", one)}
    found = make(targets, SHAPES[:1], 5, 0.1, lambda _: None)
    assert "".join(order) == "abbaabbaab"
    assert len(found.samples["a"][SHAPES[0]]) == 5 and not found.repeated


def test_a_noisy_sample_is_taken_again() -> None:
    noise = iter([0.5, 0.5, 0.0] + [0.0] * 4)
    found = make(
        {"a": lambda _: replace(sample(), others=next(noise))}, SHAPES[:1], 5, 0.1, lambda _: None
    )
    assert found.repeated == 2
    assert all(one.others == 0 for one in found.samples["a"][SHAPES[0]])


def test_a_machine_that_stays_noisy_ends_the_measurement() -> None:
    with pytest.raises(NoisyError, match="other programs used 50% of the CPU in fio:randwrite"):
        make({"a": lambda _: replace(sample(), others=0.5)}, SHAPES[:1], 5, 0.1, lambda _: None)

"""Each shape has a name of its own."""

from __future__ import annotations

from qbdcheck.perf.rounds import LEAST_ROUNDS
from qbdcheck.perf.shapes import GUEST_PROFILES, PROFILES


def test_names_are_unique_and_rounds_are_enough() -> None:
    for profile in (*PROFILES.values(), *GUEST_PROFILES.values()):
        labels = [one.label for one in profile.shapes]
        assert len(set(labels)) == len(labels) and profile.rounds >= LEAST_ROUNDS
        assert all(one.block * one.depth <= profile.size for one in profile.shapes)
    assert PROFILES["quick"].shapes[0].label == "fio:randwrite:4k:qd1:x1"

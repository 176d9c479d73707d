"""The list of the cluster's mutants."""

from __future__ import annotations

from mutants.cluster.catalogue import catalogue
from qbdcheck.kit.cluster.schedule import FAULTS


def test_each_mutant_says_what_it_does_and_differs() -> None:
    mutants = catalogue()
    assert sum(not one.is_control for one in mutants.values()) >= 12
    for mutant in mutants.values():
        assert mutant.about
        assert set(mutant.faults) <= set(FAULTS), mutant.name
        assert mutant.is_control == mutant.about.startswith("A control"), mutant.name
    assert len({one.change for one in mutants.values()}) == len(mutants)

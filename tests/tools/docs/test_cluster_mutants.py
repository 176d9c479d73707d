"""The page of the cluster's mutants."""

from __future__ import annotations

from mutants.cluster.catalogue import catalogue
from tools.docs.cluster_mutants import PAGE


def test_the_page_has_each_mutant_with_its_seed() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = {line.split("`")[1]: line for line in lines if line.startswith("| `")}
    assert set(rows) == set(catalogue()), "run: python -m tools.docs.cluster_mutants"
    for mutant in catalogue().values():
        if mutant.seed is not None:
            assert f"| {mutant.about} | {mutant.seed} |" in rows[mutant.name]

"""Backends that are wrong on purpose: the reference backend with one seeded bug each.

Each class is one bug of docs/bugs.md: a layer between the wire and the volume, or a patch of the
backend's code. `./check -t mutant:ID` runs cases against one mutant. `./check --mutants` reports
which cases find which mutants. A mutant that passes all cases is a gap in the suite.
"""

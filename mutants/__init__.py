"""Deliberately wrong backends: the reference backend with one rule broken each.

Each class is one bug, after docs/bugs.md: a layer between the wire and the volume, or a change to
the code of the backend, as a patch would be. `./check -t mutant:ID` runs cases against one,
`./check --mutants` finds out which cases see which. A mutant that all cases pass is a hole in the
suite.
"""

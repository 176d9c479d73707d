"""Bugs of a cluster, each in one class of the reference cluster; `catalogue` lists them.

`qbdcheck.kit.cluster.hunt` runs them in the simulation.
"""

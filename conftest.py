"""Wires the cases of suites/ into pytest; all logic is in qbdcheck.plugin."""

pytest_plugins = ["qbdcheck.plugin"]

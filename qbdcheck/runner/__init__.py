"""Runs cases: one forked child each, in lanes, with a verdict."""

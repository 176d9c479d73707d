"""Oracles: pure functions that judge what is read by what was written."""

"""Crash states, explored: what writes the log, and what judges each state."""

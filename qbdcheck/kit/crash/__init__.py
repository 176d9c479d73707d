"""Exploration of crash states: what writes the log, and what judges each state."""

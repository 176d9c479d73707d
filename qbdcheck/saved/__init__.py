"""Saved runs: read, compared, counted over time, merged, and certified."""

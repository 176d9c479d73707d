"""The reference cluster in cases: simulated, and as processes that are killed and cut off."""

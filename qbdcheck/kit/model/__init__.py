"""Model suites: scripts of steps played on a volume, and judged by oracles.model."""

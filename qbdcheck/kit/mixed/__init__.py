"""A random workload that mixes what clients of a volume can do, in flight and over events."""

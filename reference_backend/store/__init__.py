"""Volumes, their volatile write cache, and stores in memory and in files."""

"""Covering arrays of requests: each combination of classes that matters occurs by construction."""

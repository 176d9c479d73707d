"""Settings of all tests: a slow machine must not fail a property test."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("qbdcheck", deadline=None)
settings.load_profile("qbdcheck")

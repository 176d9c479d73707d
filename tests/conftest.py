"""What all tests share: a busy machine is no failure of a property."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("qbdcheck", deadline=None)
settings.load_profile("qbdcheck")

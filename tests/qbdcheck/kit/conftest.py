"""The fixtures for sessions on real targets, shared with the tests of targets."""

from tests.qbdcheck.targets.conftest import open_target, scratch

__all__ = ["open_target", "scratch"]

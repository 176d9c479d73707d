"""Sessions on real targets, as tests of targets have them."""

from tests.qbdcheck.targets.conftest import open_target, scratch

__all__ = ["open_target", "scratch"]

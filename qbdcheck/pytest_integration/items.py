"""Recognize cases among pytest's items, and register their fixtures."""

from __future__ import annotations

import pytest

from qbdcheck.catalogue.case import spec_of

FORMAT_PARAMETER = "qbdcheck_image_format"
"""Parameter of items under plain pytest with several image formats."""


def register_fixtures(config: pytest.Config) -> None:
    """Register the fixtures of docs/case-writer.md, once.

    They are not in ``pytest_plugins``, because ./check imports them before pytest reads it.
    """
    from qbdcheck.pytest_integration import fixtures

    if not config.pluginmanager.is_registered(fixtures):
        config.pluginmanager.register(fixtures)


def is_case(item: pytest.Item) -> bool:
    """Return whether the function of an item has ``@case``."""
    return isinstance(item, pytest.Function) and spec_of(item.function) is not None

"""Which of pytest's items are cases, and the fixtures that they bring with them."""

from __future__ import annotations

import pytest

from qbdcheck.catalogue.case import spec_of

FORMAT_PARAMETER = "qbdcheck_image_format"
"""Parameter of a case's items under plain pytest with several image formats."""


def register_fixtures(config: pytest.Config) -> None:
    """Register the fixtures of docs/case-writer.md, once.

    They are not listed in ``pytest_plugins``: ./check imports them before pytest would read it.
    """
    from qbdcheck.pytest_integration import fixtures

    if not config.pluginmanager.is_registered(fixtures):
        config.pluginmanager.register(fixtures)


def is_case(item: pytest.Item) -> bool:
    """Return True for an item whose function has ``@case``."""
    return isinstance(item, pytest.Function) and spec_of(item.function) is not None

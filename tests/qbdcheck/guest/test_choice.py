"""Patterns and a skip file choose the tests of a runtest file."""

from pathlib import Path

import pytest

from qbdcheck.errors import UsageError
from qbdcheck.guest.choice import TestChoice
from qbdcheck.guest.runtest import Entry

ENTRIES = [Entry(name, "true") for name in ("dio01", "dio02", "aio01")]


def test_without_options_all_tests_are_run() -> None:
    assert TestChoice.of((), None).apply(ENTRIES) == ENTRIES


def test_patterns_are_whole_names_and_keep_the_order() -> None:
    chosen = TestChoice.of(("aio*", "dio02", "dio"), None).apply(ENTRIES)
    assert [one.name for one in chosen] == ["dio02", "aio01"]


def test_a_skipped_test_stays_with_its_reason(tmp_path: Path) -> None:
    file = tmp_path / "skip"
    file.write_text("# slow ones\n\ndio0[2-9] needs an hour  # here\naio01\n", encoding="utf-8")
    skips = [one.skip for one in TestChoice.of((), file).apply(ENTRIES)]
    assert skips == ["", "skipped by skip, line 3: needs an hour", "skipped by skip, line 4"]


def test_a_skip_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--skip-tests .*/none: No such file"):
        TestChoice.of((), tmp_path / "none")

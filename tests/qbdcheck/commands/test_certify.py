"""What a certificate says of the kill matrix."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from qbdcheck.commands.certify import kill_matrix

BUGS = "**480 of 485 seeded bugs are killed**, 466 of them (96 %) by the quick group."


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (
            f"{BUGS} 1 of 22 controls are accused.\n",
            {"killed": 480, "seeded_bugs": 485, "controls_accused": 1, "controls": 22},
        ),
        (
            f"{BUGS} Controls are not in this record.\n\n3 of 4 controls are accused.\n",
            {"killed": 480, "seeded_bugs": 485},
        ),
    ],
)
def test_the_numbers_are_those_of_the_page(
    text: str, numbers: dict[str, int], tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert kill_matrix(page) == {**numbers, "sha256": digest}


def test_without_a_page_there_are_no_numbers(tmp_path: Path) -> None:
    assert kill_matrix(tmp_path / "none.md") == {}


def test_the_page_of_this_version_has_them() -> None:
    assert {"killed", "seeded_bugs"} <= kill_matrix().keys()

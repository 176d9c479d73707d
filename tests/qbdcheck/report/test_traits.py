"""Titles of causes say what went wrong in words that are right for how a request ended."""

from __future__ import annotations

import pytest

from qbdcheck.report.symptoms import command_of
from qbdcheck.report.traits import Trait, title_of


@pytest.mark.parametrize(
    ("traits", "title"),
    [
        (
            {("damage", "error"), ("command", "read"), ("errno", "ECONNRESET")},
            "end of the connection instead of replies to read requests",
        ),
        (
            {("damage", "error"), ("command", "write"), ("errno", "success")},
            "wrong success of write requests",
        ),
        (
            {("damage", "error"), ("command", "read"), ("errno", "EIO")},
            "error of read requests, EIO",
        ),
        ({("damage", "block status"), ("command", "block status")}, "wrong block status"),
        (
            {("damage", "block status"), ("command", "write zeroes")},
            "wrong block status of write zeroes requests",
        ),
    ],
)
def test_a_title_says_how_requests_ended(traits: set[Trait], title: str) -> None:
    root = next(trait for trait in traits if trait[0] == "damage")
    assert title_of(root, traits) == title


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("READ of 512 bytes at 0 on the connection to grown failed", "read"),
        ("WRITE of 512 bytes at 0 on the connection to trim@map failed", "write"),
        ("resize of grown failed", "resize"),
    ],
)
def test_the_name_of_a_volume_is_no_command(text: str, command: str) -> None:
    assert command_of(text) == command

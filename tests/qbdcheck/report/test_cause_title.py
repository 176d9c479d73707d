"""Titles of causes say what went wrong in words that are right for how a request ended."""

from __future__ import annotations

import pytest

from oracles.damage import Content, Damage, What
from oracles.finding import DISCARDED, Finding
from oracles.life import Moment
from qbdcheck.report.cause_title import lost_title, story_of, title_of
from qbdcheck.report.symptoms import command_of
from qbdcheck.report.traits import Trait


@pytest.mark.parametrize(
    ("traits", "title"),
    [
        (
            {("damage", "error"), ("command", "read"), ("errno", "ECONNRESET")},
            "the connection ends instead of replies to reads",
        ),
        (
            {("damage", "error"), ("command", "write"), ("errno", "success")},
            "writes succeed where they must fail",
        ),
        (
            {("damage", "error"), ("command", "read"), ("errno", "EIO")},
            "reads fail with EIO",
        ),
        ({("damage", "block status"), ("command", "block status")}, "the block status is wrong"),
        (
            {("damage", "block status"), ("command", "write zeroes")},
            "the block status is wrong after write zeroes requests",
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


PREFILL, READ = Moment("prefill", 0, 0, 1 << 20), Moment("read", 0, 0, 512)
WRITE = Moment("write", 5, 0, 512, fua=True)


def test_a_discard_that_reaches_too_far_is_no_lost_write() -> None:
    life = (PREFILL, Moment("discard", 7, 8192, 5), READ)
    beside = (f"{DISCARDED} before discard #7 of 5 bytes at offset 8192, which came after",)
    untouched = Content(What.STAMP, 0, 0)
    place = Finding(Damage.ZEROED, 0, 512, expected=untouched, life=life, evidence=beside)
    assert story_of([place, place]) == "discards reach beyond their range"
    assert not story_of([place, None])


def test_a_change_that_reached_a_snapshot_is_no_lost_write() -> None:
    zero = Moment("zero", 7, 4096, 4096, 2.0, "disk")
    place = Finding(Damage.ZEROED, 4096, 512, relatives=(zero,), volume="snapshot s of disk")
    assert story_of([place]) == "changes of a volume also change its snapshots or clones"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("65536 bytes at 0 are called zero, but have data",
         "the block status says zero where there is data"),
        ("sector 7 changed, but is clean", "changed places are not dirty"),
        ("4096 bytes at 0 have flags 0x1 (dirty), expected flags 0x0 (clean)",
         "unchanged places are dirty"),
        ("it is odd", ""),
    ],
)  # fmt: skip
def test_what_a_block_status_says_wrongly_is_named(text: str, title: str) -> None:
    assert story_of([Finding(Damage.STATUS, request="block status", remark=text)]) == title


@pytest.mark.parametrize(
    ("life", "volume", "title"),
    [
        ((PREFILL, WRITE, READ), "", "acknowledged writes with FUA are not there: reads return"),
        ((PREFILL, WRITE, READ), "clone c of snapshot s",
         "acknowledged writes with FUA are not there in clones: reads return"),
        ((PREFILL, READ), "", "data that no request had changed is not there"),
        ((), "", "data that was written is not there"),
    ],
)  # fmt: skip
def test_what_is_lost_is_named(life: tuple[Moment, ...], volume: str, title: str) -> None:
    written = Content(What.STAMP, 1, 5) if WRITE in life else Content(What.STAMP, 0, 0)
    place = Finding(Damage.ZEROED, 0, 512, expected=written, life=life, volume=volume)
    assert lost_title([place, place]).startswith(title)

"""How requests and a damaged place lie to each other, in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oracles.damage import Content, Damage, Operation, What
from oracles.finding import READ_WAS_WRONG, SECTOR, Finding
from oracles.life import Answer, Moment
from qbdcheck.report.page_place import (
    crossing,
    damage_shape,
    modulo,
    relation,
    request_shapes,
    requests_there,
    shape_of,
)
from qbdcheck.report.page_surroundings import status_story


@pytest.mark.parametrize(
    ("request_", "place", "words"),
    [
        ((0, 512), (512, 512), "ends directly before the place"),
        ((0, 512), (1024, 512), "ends 512 bytes before the place"),
        ((1024, 512), (512, 512), "begins directly behind the place"),
        ((512, 512), (512, 512), "the place is all of it"),
        ((512, 4096), (512, 512), "the place is its first 512 of 4096 bytes"),
        ((512, 4096), (4096, 512), "the place is its last 512 of 4096 bytes"),
        ((512, 4096), (1024, 512), "the place is bytes 512 to 1023 of its 4096"),
        ((700, 100), (512, 512), "covers bytes 188 to 287 of the 512 bytes of the place"),
        ((0, 700), (512, 512), "covers bytes 0 to 187 of the 512 bytes of the place"),
    ],
)
def test_a_relation_is_exact(request_: tuple[int, int], place: tuple[int, int], words: str) -> None:
    assert relation(*request_, *place) == words


def test_the_largest_unit_that_a_request_crosses_is_named() -> None:
    assert crossing(65536 - 512, 65536 + 512) == "offset 65536, a multiple of 64 KiB"
    assert not crossing(65536, 131072)
    assert not crossing(512, 1536)  # only sectors
    assert shape_of(0, 4096) == "begins at 0, and ends at 4096, a multiple of 4 KiB"


LOST = Finding(
    Damage.NEVER_WRITTEN,
    8192,
    4096,
    expected=Content(What.STAMP, 3, 7, 0, 1, 2),
    seen=Content(What.STAMP, 0, 0, 0, 1, 2),
    life=(
        Moment("prefill", 0, 0, 65536, generation=0),
        Moment("write", 7, 4096, 12288, generation=3),
        Moment("read", 0, 0, 65536),
    ),
)


def test_the_damage_and_its_request_have_sentences_of_their_own() -> None:
    place = "The damage begins at 8192, a multiple of 8 KiB, and ends at 12288, a multiple of 4 KiB"
    assert damage_shape(LOST, [LOST]) == f"{place}."
    follower = replace(LOST, offset=65536, follows="it")
    other = replace(LOST, offset=32768)
    told = damage_shape(LOST, [LOST, other, follower])
    assert told == f"{place}. This is one of 2 damaged ranges."
    (told,) = request_shapes(LOST)
    assert told == (
        "Write #7, whose data must be there, begins at 4096, a multiple of 4 KiB, and ends at"
        " 16384, a multiple of 16 KiB."
    )


def test_a_request_that_failed_damaged_no_place() -> None:
    failed = Finding(Damage.ERROR, asked=(0, 512))
    assert damage_shape(failed, [failed]) == ""
    assert list(request_shapes(failed)) == [
        "The request begins at 0, and ends at 512, a multiple of 512 bytes."
    ]


def test_a_wrong_read_is_told_from_the_damage_in_it() -> None:
    again = (f"read again over a new connection: the data is right, {READ_WAS_WRONG}",)
    wrong = replace(LOST, evidence=again)
    (told,) = request_shapes(wrong)
    assert told == (
        "The read that was wrong begins at 0, and ends at 65536, a multiple of 64 KiB; the damage"
        " is bytes 8192 to 12287 of its 65536."
    )


def test_data_at_the_low_bits_of_its_offset_names_the_unit() -> None:
    at = (4 << 30) - 2048
    lost = Finding(Damage.ZEROED, at, SECTOR, found_at=at % (64 << 20))
    assert modulo(lost) == ", at its offset modulo 64 MiB"
    assert not modulo(Finding(Damage.ZEROED, at, SECTOR, found_at=at - 4096))
    assert not modulo(Finding(Damage.ZEROED, at, SECTOR))


def test_the_list_of_requests_has_what_is_beside_the_place() -> None:
    life = (
        Moment("prefill", offset=0, length=65536),
        Moment("write", 3, 4096, 1024),
        Moment("read", 0, 0, 65536),
    )
    near = (Operation(9, 8192, 4096, "discard"),)
    lost = Finding(Damage.ZEROED, 4096, SECTOR, life=life, nearby=near)
    shown = [(one.name, one.relation) for one in requests_there(lost)]
    assert shown == [
        ("discard #9 of 4096 bytes at offset 8192", "begins 3584 bytes behind the place"),
        ("write #3 of 1024 bytes at offset 4096", "the place is its first 512 of 1024 bytes"),
        ("prefill", "the place is bytes 4096 to 4607 of its 65536"),
    ]


def _answered(at_s: float, state: str) -> Moment:
    states = (("base:allocation", 0, 65536, state),)
    return Answer("status", 0, 0, 65536, at_s, "C", states=states).said_of([(0, 512)])


@pytest.mark.parametrize(("before", "word"), [("hole", "remembered"), ("data", "remembered")])
def test_a_wrong_status_is_compared_with_the_answer_before(before: str, word: str) -> None:
    life = (
        Moment("discard", 1, 0, 4096, 0.1),
        _answered(0.2, before),
        Moment("write", 2, 0, 4096, 0.3),
        Moment("flush", at_s=0.35),
        _answered(0.4, "hole"),
    )
    change, answer = status_story(Finding(Damage.STATUS, asked=(0, 512), life=life))
    assert change == (
        "The last change before this answer: write #2 of 4096 bytes at offset 0 at 0.300 s;"
        " a flush came after it."
    )
    assert answer.startswith("The answer before it at 0.200 s on C said ")
    assert (word in answer) == (before == "hole")
    assert not status_story(Finding(Damage.ERROR, asked=(0, 512), life=life))

"""What the findings of a history say of requests in flight with a wrong read."""

from __future__ import annotations

from oracles.concurrent_reads import SAME_DATA, STRANGE, with_lives
from oracles.damage import Damage
from oracles.finding import READ_WAS_WRONG, Finding
from oracles.life import DIFFERED
from oracles.linearizability import INITIAL, Access, check
from oracles.numbered_sectors import displaced


def _request(  # noqa: PLR0917  # the fields of an access
    client: int, number: int, sectors: range, values: int | None, call: float, returned: float
) -> list[Access]:
    """Return a write (without values), or a read that saw a number in all its sectors."""
    is_write = values is None
    value = number if values is None else values
    return [Access(sector, is_write, value, call, returned, client, number) for sector in sectors]


WRITE = _request(1, 5, range(100, 110), None, 0, 10)
WRONG = _request(2, 7, range(20, 30), 5, 20, 40)


def _told(accesses: list[Access]) -> Finding:
    return with_lives(displaced(accesses), accesses)[0]


def test_a_read_with_the_data_of_another_read_in_flight_says_so() -> None:
    other = _request(2, 8, range(100, 110), 5, 21, 39)
    found = _told([*WRITE, *WRONG, *other])
    line = next(one for one in found.evidence if one.endswith(SAME_DATA))
    assert line.startswith("read (request 8) of client 2, sectors 100 to 109, which was in flight")


def test_a_read_that_ended_before_is_not_in_flight() -> None:
    other = _request(2, 6, range(100, 110), 5, 11, 19)
    found = _told([*WRITE, *other, *WRONG])
    assert not any(one.endswith(SAME_DATA) for one in found.evidence)
    assert not any("in flight with this read" in one for one in found.evidence)


def test_a_later_right_read_says_that_the_read_was_wrong() -> None:
    found = _told([*WRITE, *WRONG, *_request(3, 9, range(20, 30), INITIAL, 50, 60)])
    assert any(one.endswith(READ_WAS_WRONG) for one in found.evidence)


def test_a_later_read_with_the_same_data_says_that_the_stored_data_is_wrong() -> None:
    found = _told([*WRITE, *WRONG, *_request(3, 9, range(20, 30), 5, 50, 60)])
    assert any("so the stored data is wrong" in one for one in found.evidence)


def test_a_write_between_two_reads_makes_the_second_one_prove_nothing() -> None:
    between = _request(4, 8, range(20, 21), None, 41, 45)
    found = _told([*WRITE, *WRONG, *between, *_request(3, 9, range(20, 30), INITIAL, 50, 60)])
    assert not any("read again" in one for one in found.evidence)


def test_the_life_ends_with_the_wrong_read() -> None:
    before = _request(4, 3, range(20, 24), None, 1, 2)
    found = _told([*before, *WRITE, *WRONG, *_request(3, 9, range(20, 30), 5, 50, 60)])
    assert [(one.kind, one.number, one.lane) for one in found.life] == [
        ("write", 3, "client 4"),
        ("read", 5, "client 2"),
    ]
    assert found.life[-1].text  # it was wrong


def test_a_sector_with_changed_bits_in_a_read_of_several_has_a_life() -> None:
    """Only that sector of the read has no number."""
    write = _request(1, 5, range(20, 30), None, 0, 10)
    read = [one for one in _request(2, 7, range(20, 30), 5, 20, 40) if one.sector != 25]
    flipped = Finding(Damage.BIT_FLIP, 25 * 512, 512, request="read of client 2 (request 7)")
    (found,) = with_lives([flipped], [*write, *read])
    assert [(one.kind, one.number, one.text) for one in found.life] == [
        ("write", 5, ""),
        ("read", INITIAL, DIFFERED),
    ]


def test_other_findings_stay_as_they_are() -> None:
    one = Finding(displaced([*WRITE, *WRONG])[0].damage, 512, 512, request="read 512+512")
    assert with_lives([one], [*WRITE, *WRONG]) == [one]


def test_a_read_with_data_of_no_write_has_a_life_too() -> None:
    strange = _request(2, 7, range(20, 30), STRANGE, 20, 40)
    zeroed = Finding(Damage.ZEROED, 20 * 512, 512, request="read of client 2 (request 7)")
    (found,) = with_lives([zeroed], [*_request(4, 3, range(20, 24), None, 1, 2), *strange])
    assert [(one.kind, one.number) for one in found.life] == [("write", 3), ("read", 0)]


def test_a_lost_write_of_a_history_names_what_met_it() -> None:
    lost = _request(1, 5, range(8, 16), None, 0, 10)
    beside = _request(2, 6, range(16, 17), None, 5, 6)
    near = _request(3, 7, range(12, 13), None, 5, 12)
    accesses = [*lost, *beside, *near, *_request(4, 9, range(8, 9), INITIAL, 20, 30)]
    (found,) = with_lives([one.finding for one in check(accesses)], accesses)
    write = next(one for one in found.life if one.kind == "write")
    assert (write.offset, write.length) == (8 * 512, 8 * 512)
    assert found.evidence[-1] == (
        "near write #5 of client 1, sectors 8 to 15: write #7 of client 3, sector 12, in flight"
        " with it"
    )

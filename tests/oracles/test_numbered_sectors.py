"""What a sector filled with the numbers of writes shows: changed bits, tears, displaced writes."""

from __future__ import annotations

import numpy as np
import pytest

from oracles.damage import Confidence, Damage
from oracles.finding import READ_WAS_WRONG, SECTOR
from oracles.linearizability import INITIAL, NEVER, Access, check
from oracles.numbered_sectors import MAGIC, WORDS, Mixed, beside, displaced, finding_of, strange


def filled(number: int) -> bytes:
    return np.full(WORDS, MAGIC | number, dtype="<u8").tobytes()


def with_bit(data: bytes, byte: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[byte] ^= 1 << bit
    return bytes(changed)


def mixed(data: bytes, *values: int, call: float = 10, sector: int = 3) -> Mixed:
    return Mixed(sector, values, call, call + 1, data, client=2, request=40)


def write(value: int, call: float, sector: int = 3, returned: float | None = None) -> Access:
    end = call + 0.5 if returned is None else returned
    return Access(sector, True, value, call, end, 1, value)


def read(value: int, call: float, sector: int = 3) -> Access:
    return Access(sector, False, value, call, call + 0.5, 1, 50)


@pytest.mark.parametrize(("byte", "values"), [(256, (110, 126)), (4, ())])
def test_one_bit_in_a_sector_of_one_write_is_a_bit_flip(byte: int, values: tuple[int, ...]) -> None:
    finding = finding_of(mixed(with_bit(filled(110), byte, 4), *values), [110])
    assert finding.damage is Damage.BIT_FLIP
    assert finding.text == f"bit flip at byte {byte} of the sector (bit 4)"
    assert finding.confidence is Confidence.CERTAIN
    assert str(finding.expected) == "write #110"
    assert (finding.offset, finding.length) == (3 * SECTOR, SECTOR)
    assert finding.request == "read of client 2 (request 40)"


def test_a_bit_flip_that_could_be_a_word_of_another_write_is_only_likely() -> None:
    data = with_bit(filled(110), 256, 4)
    assert finding_of(mixed(data, 110, 126), [110, 126]).confidence is Confidence.LIKELY


@pytest.mark.parametrize(
    ("data", "values", "damage", "text"),
    [
        (filled(7)[:256] + filled(9)[256:], (7, 9), Damage.TORN, "of several writes: #7, #9"),
        (filled(7)[:256] + filled(6)[256:], (6, 7), Damage.TORN, "of several writes: #6, #7"),
        (bytes(SECTOR), (), Damage.ZEROED, "never written"),
        (b"x" * SECTOR, (), Damage.UNKNOWN, "data that was never written: 0x7878"),
        (filled(7)[:256] + b"x" * 256, (), Damage.UNKNOWN, "never written"),
        (filled(7)[:256] + b"xyz" + filled(7)[259:], (), Damage.ALTERED, "never written"),
    ],
)
def test_other_damage_is_no_bit_flip(
    data: bytes, values: tuple[int, ...], damage: Damage, text: str
) -> None:
    finding = finding_of(mixed(data, *values))
    assert finding.damage is damage
    assert text in finding.text


def test_parts_of_a_write_in_flight_are_allowed_and_others_are_not() -> None:
    torn = mixed(filled(7)[:256] + filled(9)[256:], 7, 9)
    before = [write(7, 1), write(9, 3)]
    assert strange([torn], [write(7, 1), write(9, 3, returned=NEVER)]) == []
    assert [one.damage for one in strange([torn], before)] == [Damage.TORN]
    flipped = mixed(with_bit(filled(9), 8, 4), 9, 25)
    in_flight = write(9, 3, returned=NEVER)
    assert [one.damage for one in strange([flipped], [in_flight])] == [Damage.BIT_FLIP]


def test_a_later_read_says_whether_the_stored_data_is_wrong() -> None:
    flipped = with_bit(filled(9), 8, 4)
    once, twice = mixed(flipped, 9, 25), mixed(flipped, 9, 25, call=20)
    history = [write(9, 3)]
    assert strange([once], history)[0].evidence == ()
    assert strange([once], history)[0].last_write == "#9 write 1536+512"
    [finding] = strange([once, twice], history)
    assert finding.evidence[0].endswith("the same bytes, so the stored data is wrong")
    [finding] = strange([once], [*history, read(9, 30)])
    assert finding.evidence[0].endswith(f"the data is right, {READ_WAS_WRONG}")
    [finding] = strange([once], [*history, write(12, 25), write(9, 26, 4), read(9, 30)])
    assert finding.evidence == ()  # it was written in between


def test_a_number_in_a_sector_that_it_was_not_sent_to_is_displaced() -> None:
    history = [write(5, 1, sector) for sector in (4, 5)] + [write(6, 2, 12)]
    seen = [read(5, 9, sector) for sector in (12, 13)] + [read(6, 3, 12)]
    [finding] = displaced(history + seen)
    assert finding.damage is Damage.MISDIRECTED
    assert (finding.offset, finding.length, finding.moved) == (12 * SECTOR, 1024, 8 * SECTOR)
    assert finding.text == (
        "misdirected: sectors 12 to 13 have write #5 of client 1, which was sent to sectors 4 to 5"
    )
    assert displaced([*history, *(read(5, 9, sector) for sector in (4, 5))]) == []
    [part] = displaced([*history, read(5, 9, 13), read(5, 9, 4)])
    assert part.moved is None
    assert part.text.endswith("; a part of it is also where it belongs")


def test_a_number_that_nobody_wrote_is_not_displaced() -> None:
    assert displaced([read(77, 4), read(0, 5), write(5, 1)]) == []


def test_anomalies_of_a_displaced_write_follow_from_it() -> None:
    history = [write(5, 1, 4), read(INITIAL, 5, 4), read(5, 9, 12), write(6, 1, 30)]
    history += [read(INITIAL, 5, 30)]
    found = beside(displaced(history), check(history))
    assert [(one.sector, bool(one.follows)) for one in found] == [(4, True), (30, False)]

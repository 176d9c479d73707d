"""What no document promises, and how a shadow treats it when it is waived."""

from __future__ import annotations

import pytest

from oracles.contents import Change
from oracles.damage import Damage, Operation
from oracles.promises import policy_after
from oracles.shadow import Ambiguous, Shadow, Unpromised
from oracles.stamps import as_array

BAD = b"\xff" * 4096


@pytest.mark.parametrize(
    ("text", "offset", "length", "policy"),
    [
        ("discard", 4096, 512, "discard-old-or-zero"),
        ("discard", 8192, 4096, "discard-old-or-zero"),
        ("discard", 4096 - 512, 1024, ""),
        ("write (outcome unknown)", 4096, 8192, "failed-write-old-or-new"),
        ("write", 4096, 512, ""),
        ("discard (in flight with others)", 4096, 512, ""),
    ],
)
def test_the_last_request_tells_the_policy(
    text: str, offset: int, length: int, policy: str
) -> None:
    assert policy_after((Operation(1, 4096, 8192, text),), offset, length) == policy


def test_without_a_request_a_document_says_it() -> None:
    assert policy_after((), 0, 512) == ""


def discarded(*waived: str) -> Shadow:
    shadow = Shadow(64 << 10, waived=frozenset(waived))
    shadow.prefill()
    shadow.discard(8192, 4096)
    return shadow


def test_a_waived_policy_is_not_judged_and_everything_else_is() -> None:
    assert discarded().check(8192, BAD)
    shadow = discarded("discard-old-or-zero").copy()
    assert not shadow.check(8192, BAD)
    assert shadow.check(4096, BAD)
    assert shadow.check(8192 - 512, bytes(4096))
    assert discarded("failed-write-old-or-new").check(8192, BAD)


def test_each_byte_is_judged_by_the_last_request_that_touched_it() -> None:
    """Several discards cover a range and end within sectors; then a write is inside."""
    shadow = Shadow(64 << 10, waived=frozenset({"discard-old-or-zero"}))
    right = bytearray(shadow.prefill())
    for offset, length in ((8100, 4000), (12_000, 1000)):
        shadow.discard(offset, length)
        right[offset : offset + length] = b"\xff" * length
    shadow.write(9000, b"w" * 100)
    right[9000:9100] = b"w" * 100
    shadow.discard(9050, 10)
    right[9050:9060] = b"\xff" * 10
    assert not shadow.check(4096, bytes(right[4096:20_480]))
    for wrong in (8099, 13_000, 9000, 9060):  # beside what was discarded, and in the write
        damaged = bytearray(right)
        damaged[wrong] ^= 1
        assert shadow.check(4096, bytes(damaged[4096:20_480])), wrong


def test_data_that_is_settled_where_a_policy_is_waived_may_be_anything() -> None:
    shadow = discarded("discard-old-or-zero")
    shadow.settle(8192, BAD)
    assert not shadow.check(8192, BAD)
    data = shadow.stamped(8192, 4096)
    shadow.write(8192, data)
    assert not shadow.check(8192, data)
    assert shadow.check(8192, BAD)


def test_a_power_cut_brings_back_what_is_unknown_until_a_later_write_is_durable() -> None:
    def overwritten(*, fua: bool = False, flushed: bool = False) -> Shadow:
        shadow = discarded("discard-old-or-zero")
        shadow.flush()
        shadow.write(8192, shadow.stamped(8192, 4096), fua=fua)
        if flushed:
            shadow.flush()
        assert shadow.check(8192, BAD)
        shadow.power_cut()
        return shadow

    assert not overwritten().check(8192, BAD)
    assert overwritten(fua=True).check(8192, BAD)
    assert overwritten(flushed=True).check(8192, BAD)
    assert overwritten().check(4096, BAD)


def test_what_is_in_flight_with_a_discard_is_unknown_where_both_are() -> None:
    shadow = Shadow(64 << 10, waived=frozenset({"discard-old-or-zero"}))
    shadow.prefill()
    write = Change(0, 8192, as_array(shadow.stamped(0, 8192)))
    shadow.in_flight([("discard", Change(4096, 4096, maybe=True), None), ("write", write, None)])
    assert not shadow.check(4096, BAD)
    assert shadow.check(0, BAD)


def test_nothing_is_promised_about_a_discarded_range_until_it_is_written_or_cut_off() -> None:
    shadow = discarded("discard-old-or-zero")
    with pytest.raises(Unpromised, match="waives discard-old-or-zero, which decides"):
        shadow.expected(0, 16_384)
    assert len(shadow.expected(0, 8192)) == 8192
    shadow.resize(8192)
    shadow.resize(64 << 10)
    assert shadow.expected(8192, 4096) == bytes(4096)
    with pytest.raises(Ambiguous):
        discarded().expected(0, 16_384)


def test_what_is_promised_of_a_sector_is_compared_with_one_permitted_contents() -> None:
    """After a power cut the sector is old or new, whatever its discarded part holds."""
    shadow = Shadow(64 << 10, waived=frozenset({"discard-old-or-zero"}))
    old = shadow.prefill(0, 512).tobytes()
    shadow.write(0, b"n" * 512)
    shadow.discard(100, 412)
    shadow.power_cut()
    assert not shadow.check(0, old[:100] + BAD[:412])
    shadow = shadow.copy()
    assert not shadow.check(0, b"n" * 100 + BAD[:412])
    assert shadow.check(0, old[:50] + b"n" * 50 + BAD[:412])


def test_a_short_read_is_wrong_wherever_it_ends_and_its_unknown_bytes_are_not() -> None:
    shadow = discarded("discard-old-or-zero")
    right = shadow.expected(0, 8192)
    for length in (0, 4096, 8192, 10_000, 12_288):  # before, in and behind what was discarded
        (short,) = shadow.check(0, (right + BAD)[:length], 16_384)
        assert short.damage is Damage.TRUNCATED
        assert (short.offset, short.length) == (length, 16_384 - length)
    first, last = shadow.check(0, b"?" + right[1:] + BAD[:100], 16_384)
    assert first.offset == 0
    assert last.damage is Damage.TRUNCATED

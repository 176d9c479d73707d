import time
from copy import deepcopy

import numpy as np
import pytest

from oracles.diagnosis import Damage
from oracles.shadow import LARGEST, Ambiguous, NotPermitted, Shadow
from oracles.stamps import SECTOR, Data, Identity, as_array, header_of, sector_words

ME = Identity.of("run", "vol")
A, B = b"\xaa" * SECTOR, b"\xbb" * SECTOR
ZERO = bytes(SECTOR)


def permitted(shadow: Shadow, offset: int, data: Data) -> bool:
    return shadow.check(offset, data) == []


def test_a_new_volume_reads_zeroes() -> None:
    shadow = Shadow(10_000)
    assert shadow.expected(0, 10_000) == bytes(10_000)


def test_a_prefilled_volume_reads_what_prefill_returned_and_stays_after_a_power_cut() -> None:
    shadow = Shadow(100_001, ME)
    data = shadow.prefill()
    shadow.power_cut()
    assert permitted(shadow, 0, data)
    assert shadow.ambiguous() == []


def test_an_unaligned_write_changes_exactly_its_bytes() -> None:
    shadow = Shadow(1 << 20, ME)
    before = shadow.prefill().tobytes()
    shadow.write(65_535, b"xyz")
    assert shadow.expected(0, 1 << 20) == before[:65_535] + b"xyz" + before[65_538:]


def test_a_lost_write_is_reported_with_the_request_that_should_be_there() -> None:
    shadow = Shadow(1 << 20, ME)
    old = shadow.prefill()
    shadow.write(4096, shadow.stamped(4096, 1024))
    (finding,) = shadow.check(0, old)
    assert finding.damage is Damage.NEVER_WRITTEN
    assert finding.last_write == "#1 write 4096+1024"


def test_stamped_data_carries_the_number_that_the_history_shows() -> None:
    shadow = Shadow(1 << 20, ME)
    first, second = shadow.stamped(0, 512), shadow.stamped(512, 512)
    shadow.write(512, second)
    shadow.write(0, first)
    assert [entry.number for entry in shadow.history] == [2, 1]


def test_a_torn_sector_names_the_older_write_from_the_history() -> None:
    shadow = Shadow(1 << 20, ME)
    old = shadow.stamped(0, 512)
    shadow.write(0, old)
    new = shadow.stamped(0, 512)
    shadow.write(0, new)
    (finding,) = shadow.check(0, new[:200] + old[200:])
    assert finding.damage is Damage.TORN
    assert "torn at byte 200" in finding.text
    assert "then generation 1 by write #1" in finding.text


def test_after_a_failed_write_old_and_new_are_right_per_sector_and_nothing_else() -> None:
    shadow = Shadow(4 * SECTOR)
    shadow.write(0, A + A)
    shadow.maybe_write(0, B + B)
    assert all(permitted(shadow, 0, x + y) for x in (A, B) for y in (A, B))
    assert not permitted(shadow, 0, A[:256] + B[256:] + A)
    assert not permitted(shadow, 0, ZERO + A)
    with pytest.raises(Ambiguous):
        shadow.expected(0, SECTOR)
    assert shadow.ambiguous() == [0, 1]


def test_a_part_of_an_ambiguous_sector_is_judged_by_that_part() -> None:
    shadow = Shadow(4 * SECTOR)
    shadow.write(0, A)
    shadow.maybe_write(100, b"x" * 10)
    assert permitted(shadow, 90, A[:30])
    assert permitted(shadow, 90, A[:10] + b"x" * 10 + A[:10])
    assert not permitted(shadow, 90, A[:10] + b"x" * 9 + A[:11])


def test_a_settled_sector_must_read_the_same_again() -> None:
    shadow = Shadow(4 * SECTOR)
    shadow.write(0, A)
    shadow.maybe_write(0, B)
    with pytest.raises(NotPermitted):
        shadow.settle(0, ZERO)
    shadow.settle(0, B)
    assert shadow.expected(0, SECTOR) == B


def test_settling_a_part_of_a_sector_leaves_only_the_contents_that_fit() -> None:
    shadow = Shadow(SECTOR)
    shadow.write(0, A)
    shadow.maybe_write(0, b"x")
    shadow.maybe_write(500, b"y")
    shadow.settle(0, b"x")
    assert shadow.check(0, b"x") == []
    assert not permitted(shadow, 0, b"\xaa")
    assert permitted(shadow, 500, b"y")
    assert permitted(shadow, 500, b"\xaa")


def test_damage_beside_a_discarded_part_is_judged_without_that_part() -> None:
    shadow = Shadow(1 << 20, ME)
    old = shadow.stamped(0, SECTOR)
    shadow.write(0, old)
    shadow.discard(68, 2)
    seen = bytearray(old)
    seen[68:70] = bytes(2)
    assert shadow.check(0, bytes(seen)) == []
    seen[7] ^= 0x10
    (finding,) = shadow.check(0, bytes(seen))
    assert finding.damage is Damage.BIT_FLIP
    assert finding.part == (7, 8)


def test_an_acknowledged_write_settles_what_was_ambiguous() -> None:
    shadow = Shadow(4 * SECTOR)
    shadow.maybe_write(0, A)
    shadow.write(0, B)
    assert shadow.expected(0, SECTOR) == B


def test_discard_allows_old_data_or_zeroes_but_no_older_data() -> None:
    shadow = Shadow(4 * SECTOR)
    shadow.write(0, A)
    shadow.write(0, B)
    shadow.discard(0, SECTOR)
    assert permitted(shadow, 0, B)
    assert permitted(shadow, 0, ZERO)
    assert not permitted(shadow, 0, A)


def test_discard_with_a_promise_must_read_zeroes() -> None:
    shadow = Shadow(4 * SECTOR)
    shadow.write(0, A)
    shadow.discard(0, SECTOR, reads_zero=True)
    assert shadow.expected(0, SECTOR) == ZERO


def test_a_power_cut_makes_what_was_not_flushed_old_or_new() -> None:
    shadow = Shadow(4 * SECTOR)
    shadow.write(0, A)
    shadow.flush()
    shadow.write(0, B)
    shadow.write(SECTOR, B)
    shadow.power_cut()
    assert permitted(shadow, 0, A + B)
    assert permitted(shadow, 0, B + ZERO)
    assert not permitted(shadow, 0, ZERO)


def test_flushed_data_must_survive_a_power_cut() -> None:
    shadow = Shadow(4 * SECTOR)
    shadow.write(0, A)
    shadow.flush()
    shadow.power_cut()
    assert shadow.expected(0, SECTOR) == A


def test_a_write_with_fua_must_survive_a_power_cut_and_its_neighbour_need_not() -> None:
    shadow = Shadow(4 * SECTOR)
    shadow.write(0, A, fua=True)
    shadow.write(SECTOR, A)
    shadow.power_cut()
    assert shadow.expected(0, SECTOR) == A
    assert shadow.ambiguous() == [1]


def test_small_unflushed_writes_to_one_sector_survive_in_any_combination() -> None:
    shadow = Shadow(SECTOR)
    shadow.write(0, b"x")
    shadow.write(9, b"y")
    shadow.power_cut()
    for first in (b"x", b"\0"):
        for tenth in (b"y", b"\0"):
            assert permitted(shadow, 0, first + bytes(8) + tenth)


def test_too_many_permitted_contents_are_counted_as_unjudged() -> None:
    shadow = Shadow(SECTOR)
    for place in range(12):
        shadow.maybe_write(place, b"x")
    assert shadow.unjudged() == 1
    assert permitted(shadow, 0, b"\x77" * SECTOR)
    shadow.write(0, A)
    assert shadow.unjudged() == 0


def test_where_writes_in_flight_overlap_each_sector_is_one_of_them() -> None:
    shadow = Shadow(4 * SECTOR)
    shadow.concurrent([(0, A + A), (SECTOR, B + B)])
    assert permitted(shadow, 0, A + A + B)
    assert permitted(shadow, 0, A + B + B)
    assert not permitted(shadow, 0, B + B + B)
    assert not permitted(shadow, 0, A + A[:100] + B[100:] + B)
    assert not permitted(shadow, 0, A + ZERO + B)


def test_writes_in_flight_that_were_not_flushed_may_be_lost_in_a_power_cut() -> None:
    shadow = Shadow(4 * SECTOR)
    shadow.concurrent([(0, A + A), (SECTOR, B + B)])
    shadow.power_cut()
    assert all(permitted(shadow, SECTOR, x) for x in (A, B, ZERO))
    assert not permitted(shadow, 0, B)


def test_grown_space_reads_zeroes_even_where_data_was_before_a_shrink() -> None:
    shadow = Shadow(4 * SECTOR)
    shadow.write(0, A * 4)
    shadow.resize(SECTOR + 10)
    shadow.resize(4 * SECTOR)
    shadow.power_cut()
    assert permitted(shadow, SECTOR, A[:10] + bytes(3 * SECTOR - 10))
    assert not permitted(shadow, SECTOR + 10, A)


def test_ranges_beyond_the_end_are_refused() -> None:
    shadow = Shadow(1000)
    for call in (
        lambda: shadow.write(999, b"ab"),
        lambda: shadow.zero(0, 1001),
        lambda: shadow.expected(-1, 1),
        lambda: shadow.check(990, bytes(11)),
    ):
        with pytest.raises(ValueError, match="not within"):
            call()
    with pytest.raises(ValueError, match="not within 0 to"):
        Shadow(LARGEST + 1)


def test_the_largest_volume_costs_only_what_was_written() -> None:
    shadow = Shadow(LARGEST)
    shadow.write(LARGEST - 3, b"end")
    shadow.zero(0, LARGEST // 2)
    shadow.discard(0, LARGEST)
    shadow.power_cut()
    assert permitted(shadow, LARGEST - 3, b"end")
    assert permitted(shadow, LARGEST - 3, bytes(3))
    assert [offset // 65536 for offset, _ in shadow.used()] == [LARGEST // 65536]
    shadow.resize(1 << 40)
    assert list(shadow.used()) == []


def test_used_ranges_are_merged_and_end_with_the_volume() -> None:
    shadow = Shadow(200_000)
    shadow.write(65_535, b"ab")
    shadow.write(199_999, b"c")
    assert list(shadow.used()) == [(0, 131_072), (196_608, 3_392)]


def test_a_short_read_is_truncated() -> None:
    shadow = Shadow(1000)
    (finding,) = shadow.check(0, bytes(500), length=1000)
    assert finding.damage is Damage.TRUNCATED


def test_eight_mebibytes_are_judged_within_a_few_milliseconds() -> None:
    shadow = Shadow(8 << 20, ME)
    data = shadow.prefill().tobytes()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        assert shadow.check(0, data) == []
        times.append(time.perf_counter() - start)
    # 2 ms on an idle machine; the limit only catches a comparison that is done byte by byte
    assert min(times) < 0.05


def test_a_copy_is_independent() -> None:
    shadow = Shadow(8 * SECTOR, Identity(1, 2))
    shadow.prefill()
    first = shadow.stamped(0, SECTOR)
    shadow.write(0, first)
    copy = shadow.copy(writer=3)
    shadow.write(0, shadow.stamped(0, SECTOR))
    assert copy.expected(0, SECTOR) == first
    other = copy.stamped(SECTOR, SECTOR)
    copy.write(SECTOR, other)
    assert header_of(sector_words(as_array(other))[0]).writer == 3
    assert shadow.expected(SECTOR, SECTOR) != other
    shadow.resize(SECTOR)
    assert copy.size == 8 * SECTOR
    findings = copy.check(0, shadow.expected(0, SECTOR))
    assert [finding.damage for finding in findings] == [Damage.NEWER]
    copy.power_cut()
    assert copy.ambiguous() == [0, 1]
    assert shadow.ambiguous() == []


@pytest.mark.parametrize(
    ("there", "read", "damage", "moved"),
    [
        # the place where the write of 3000 bytes at 100000 landed, and what is read of it
        pytest.param(
            104096, (104096, 3000), Damage.MISDIRECTED, 4096, id="unaligned, 8 sectors on"
        ),
        pytest.param(104096, (104200, 200), Damage.MISDIRECTED, 4096, id="a part of a sector"),
        pytest.param(100003, (99840, 4096), Damage.SHIFTED, 3, id="3 bytes on"),
        pytest.param(300077, (299520, 4096), Damage.SHIFTED, 200077, id="far, at an odd distance"),
    ],
)
def test_data_at_a_wrong_place_is_recognised_by_any_part_of_it(
    there: int, read: tuple[int, int], damage: Damage, moved: int
) -> None:
    shadow = Shadow(1 << 20, Identity.of("run", "volume"))
    image = np.array(shadow.prefill())
    data = shadow.stamped(100_000, 3000)
    shadow.write(100_000, data)
    shadow.write(there + 1, shadow.stamped(there + 1, 2999))  # so that no prefill is expected
    image[there : there + 3000] = np.frombuffer(data, dtype=np.uint8)
    offset, length = read
    findings = shadow.check(offset, image[offset : offset + length].tobytes())
    assert {(one.damage, one.moved) for one in findings if one.moved} == {(damage, moved)}
    assert not [one for one in findings if one.damage is Damage.UNKNOWN]


def test_missing_data_is_said_to_be_at_the_other_place() -> None:
    shadow = Shadow(1 << 20, Identity.of("run", "volume"))
    image = np.array(shadow.prefill())
    data = shadow.stamped(8192, 512)
    shadow.write(8192, data)
    image[12288:12800] = np.frombuffer(data, dtype=np.uint8)
    missing, found = shadow.check(0, image.tobytes())
    assert (missing.damage, missing.sector) == (Damage.NEVER_WRITTEN, 16)
    assert missing.evidence == ("what belongs to sector 16 is found at sector 24 instead",)
    assert (found.damage, found.moved) == (Damage.MISDIRECTED, 4096)


def test_a_deep_copy_of_a_shadow_is_independent() -> None:
    """A running disk has a clock and sources of faults, which cannot be copied."""
    shadow = Shadow(8 * SECTOR, Identity(1, 2, 3))
    shadow.history.clock = time.monotonic
    shadow.history.faults.append(list)
    shadow.history.lane = "NBD connection 1"
    frozen = deepcopy(shadow)
    shadow.write(0, shadow.stamped(0, SECTOR))
    assert len(shadow.history) == len(frozen.history) + 1
    assert frozen.history.lane == "NBD connection 1"
    assert frozen.check(0, bytes(SECTOR)) == []
    assert shadow.check(0, bytes(SECTOR)) != []

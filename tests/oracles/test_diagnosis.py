"""One test for each kind of damage: make exactly that damage, and read its name."""

import numpy as np
import pytest

from oracles.damage import Confidence
from oracles.diagnosis import Damage, Finding, diagnose, render
from oracles.shadow import Shadow
from oracles.stamps import SECTOR, Header, Identity, stamp

ME = Identity(run=7, volume=9)
SIZE = 64 * SECTOR


def disk(generation: int = 7, operation: int = 70) -> np.ndarray:
    return stamp(0, SIZE, ME, generation, operation)


def only(seen: np.ndarray | bytes, expected: np.ndarray | bytes, offset: int = 0) -> Finding:
    findings = diagnose(seen, offset, expected, identity=ME)
    assert len(findings) == 1, render(findings)
    return findings[0]


def sectors(first: int, count: int = 1) -> slice:
    return slice(first * SECTOR, (first + count) * SECTOR)


def test_the_right_data_is_never_accused() -> None:
    assert diagnose(disk(), 0, disk()) == []


def test_a_lost_write_is_stale_with_both_generations() -> None:
    seen = disk()
    seen[sectors(3, 5)] = disk(4, 40)[sectors(3, 5)]
    finding = only(seen, disk())
    assert (finding.damage, finding.offset, finding.length) == (Damage.STALE, 1536, 2560)
    assert finding.text == "stale (generation 4 by write #40, expected 7 by write #70)"


def test_a_later_generation_than_expected_is_newer() -> None:
    seen = disk()
    seen[sectors(3)] = disk(9, 90)[sectors(3)]
    assert only(seen, disk()).damage is Damage.NEWER


def test_writes_of_different_writers_in_one_generation_are_distinguished() -> None:
    seen = disk()
    seen[sectors(3)] = stamp(3 * SECTOR, SECTOR, Identity(7, 9, 5), 7, 71)
    finding = only(seen, disk())
    assert finding.damage is Damage.OTHER_WRITE
    assert "#71 by writer 5" in finding.text


def test_a_misdirected_write_names_distance_and_request() -> None:
    seen = disk()
    seen[sectors(18, 2)] = stamp(10 * SECTOR, 2 * SECTOR, ME, 6, 57)
    finding = only(seen, disk())
    assert finding.damage is Damage.MISDIRECTED
    assert finding.text == "misdirected (+8 sectors, by write #57)"
    assert finding.sectors == 2


def test_the_finding_mentions_an_offset_truncated_to_32_bits() -> None:
    seen = disk()
    seen[sectors(0)] = stamp(1 << 32, SECTOR, ME, 8, 80)
    assert "4 GiB too low" in only(seen, disk()).text


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        (46, "a multiple of 4 GiB, like an offset cut off to 32 bits"),
        (41, "2 TiB too low, a multiple of 4 GiB"),
    ],
)
def test_the_finding_mentions_a_multiple_of_4_gib(bits: int, text: str) -> None:
    seen = disk()
    seen[sectors(0)] = stamp(1 << bits, SECTOR, ME, 8, 80)
    assert text in only(seen, disk()).text


def test_swapped_sectors_are_distinguished_from_misdirected_ones() -> None:
    seen = disk()
    seen[sectors(4)], seen[sectors(9)] = disk()[sectors(9)], disk()[sectors(4)]
    findings = diagnose(seen, 0, disk())
    assert [finding.damage for finding in findings] == [Damage.SWAPPED, Damage.SWAPPED]
    assert [finding.text[-7:] for finding in findings] == ["+5 away", "-5 away"]


def test_zeroed_sectors_are_zeroed() -> None:
    seen = disk()
    seen[sectors(30, 8)] = 0
    finding = only(seen, disk())
    assert (finding.damage, finding.sectors) == (Damage.ZEROED, 8)


@pytest.mark.parametrize(("other", "word"), [(Identity(7, 8), "volume"), (Identity(6, 9), "run")])
def test_data_of_another_volume_or_run_is_foreign(other: Identity, word: str) -> None:
    seen = disk()
    seen[sectors(30)] = stamp(30 * SECTOR, SECTOR, other, 1, 3)
    finding = only(seen, disk())
    assert finding.damage is Damage.FOREIGN
    assert finding.text.startswith(f"foreign {word}")


@pytest.mark.parametrize("byte", [0, 9, 39, 40, 300, 511])
def test_a_bit_flip_names_byte_and_bit(byte: int) -> None:
    seen = disk()
    seen[5 * SECTOR + byte] ^= 1 << 6
    finding = only(seen, disk())
    assert finding.damage is Damage.BIT_FLIP
    assert finding.text == f"bit flip at byte {byte} of the sector (bit 6)"
    assert finding.first_difference == 5 * SECTOR + byte


def test_a_few_bit_flips_are_counted() -> None:
    seen = disk()
    seen[[5 * SECTOR + 40, 5 * SECTOR + 99, 5 * SECTOR + 500]] ^= 1
    assert only(seen, disk()).text == "3 bit flips, first at byte 40 of the sector"


def test_some_changed_bytes_are_altered() -> None:
    seen = disk()
    seen[5 * SECTOR + 100 : 5 * SECTOR + 104] ^= 0xFF
    assert only(seen, disk()).text == "bytes 100 to 103 of the sector altered"


@pytest.mark.parametrize("at", [48, 128, 256, 504])
def test_a_sector_torn_between_new_and_old_says_where(at: int) -> None:
    seen = disk()
    seen[SECTOR + at : 2 * SECTOR] = disk(4, 40)[SECTOR + at : 2 * SECTOR]
    history = [Header(7, 9, 1, 4, 0, 40)]
    (finding,) = diagnose(seen, 0, disk(), candidates=lambda _: history)
    assert finding.damage is (Damage.TORN if at < 504 else Damage.ALTERED)
    if at < 504:
        assert f"torn at byte {at}: first generation 7 by write #70, then generation 4" in (
            finding.text
        )


def test_a_tear_is_recognised_without_a_history_by_its_fill() -> None:
    seen = disk()
    seen[SECTOR + 256 : 2 * SECTOR] = disk(4, 40)[SECTOR + 256 : 2 * SECTOR]
    assert only(seen, disk()).text == (
        "torn at byte 256: first generation 7 by write #70, then another write"
    )


def test_a_tear_whose_old_part_holds_the_header_names_the_old_write() -> None:
    seen = disk()
    seen[SECTOR : SECTOR + 256] = disk(4, 40)[SECTOR : SECTOR + 256]
    assert only(seen, disk()).text == (
        "torn at byte 256: first generation 4 by write #40, then generation 7 by write #70"
    )


@pytest.mark.parametrize("filling", [0, 0xA5])
def test_a_sector_torn_between_a_stamp_and_zeroes_or_a_pattern_is_recognised(filling: int) -> None:
    seen = disk()
    seen[SECTOR + 64 : 2 * SECTOR] = filling
    finding = only(seen, disk())
    assert finding.damage is Damage.TORN
    assert finding.text.startswith("torn at byte 64: first generation 7")


def test_a_pattern_torn_by_a_stamp_is_torn() -> None:
    expected = np.full(SECTOR, 0x5A, dtype=np.uint8)
    seen = expected.copy()
    seen[256:] = stamp(0, SECTOR, ME, 3, 30)[256:]
    history = [Header(7, 9, 0, 3, 0, 30)]
    (finding,) = diagnose(seen, 0, expected, identity=ME, candidates=lambda _: history)
    assert finding.text.startswith("torn at byte 256: first pattern 0x5a, then generation 3")


@pytest.mark.parametrize("by", [1, 7, 64, 300])
def test_data_that_moved_by_bytes_is_shifted_to_either_side(by: int) -> None:
    expected = disk()
    right, left = expected.copy(), expected.copy()
    right[sectors(8, 4)] = expected[8 * SECTOR - by : 12 * SECTOR - by]
    left[sectors(8, 4)] = expected[8 * SECTOR + by : 12 * SECTOR + by]
    assert only(right, expected).text == f"shifted by +{by} bytes"
    assert only(left, expected).text == f"shifted by -{by} bytes"


def test_data_that_moved_by_more_than_a_sector_is_shifted() -> None:
    expected = disk()
    seen = expected.copy()
    seen[sectors(8, 4)] = expected[8 * SECTOR - 1064 : 12 * SECTOR - 1064]
    assert only(seen, expected).text == "shifted by +1064 bytes"


@pytest.mark.parametrize("at", [2, 300])
@pytest.mark.parametrize("period", [4, 251])
def test_a_flipped_bit_in_data_that_repeats_itself_is_no_shift(period: int, at: int) -> None:
    expected = (np.arange(SECTOR) % period + 1).astype(np.uint8)
    seen = expected.copy()
    seen[at] ^= 8
    assert only(seen, expected).text == f"bit flip at byte {at} of the sector (bit 3)"
    seen[at + 3] ^= 255
    assert only(seen, expected).damage is Damage.ALTERED


def test_a_short_read_is_truncated() -> None:
    finding = only(disk()[:-100], disk())
    assert (finding.damage, finding.offset, finding.length) == (
        Damage.TRUNCATED,
        SIZE - 100,
        100,
    )


def test_more_data_than_expected_is_refused() -> None:
    with pytest.raises(ValueError, match="bytes seen where"):
        diagnose(bytes(513), 0, bytes(512))


def test_random_data_is_unknown() -> None:
    seen = disk()
    seen[sectors(2)] = np.random.default_rng(1).integers(0, 256, SECTOR, dtype=np.uint8)
    finding = only(seen, disk())
    assert finding.damage is Damage.UNKNOWN
    assert finding.text.startswith("uninitialised or unknown data")


def test_another_pattern_is_named() -> None:
    finding = only(b"\x11" * SECTOR, b"\x22" * SECTOR)
    assert finding.text == "pattern 0x11 where pattern 0x22 is expected"


def test_prefill_that_is_still_there_was_never_written() -> None:
    seen = disk()
    seen[sectors(2, 3)] = stamp(2 * SECTOR, 3 * SECTOR, ME)
    finding = only(seen, disk())
    assert (finding.damage, finding.sectors) == (Damage.NEVER_WRITTEN, 3)
    assert only(stamp(0, SECTOR, ME), bytes(SECTOR)).damage is Damage.NEVER_WRITTEN


def test_an_old_stamp_where_zeroes_are_expected_names_its_write() -> None:
    finding = only(disk()[sectors(0)], bytes(SECTOR))
    assert finding.text == "stale (write #70 still there, expected zeroes)"


def test_an_unaligned_range_judges_its_own_bytes_only() -> None:
    expected = disk()[700:2000]
    seen = expected.copy()
    seen[:100] = disk(4, 40)[700:800]
    finding = diagnose(seen, 700, expected)[0]
    assert finding.offset == 700
    assert finding.offset + finding.length <= 1024


def test_a_stale_part_of_a_sector_is_found_in_the_history() -> None:
    history = [Header(7, 9, 1, 4, 0, 40)]
    seen, expected = disk(4, 40)[600:900], disk()[600:900]
    (finding,) = diagnose(seen, 600, expected, identity=ME, candidates=lambda _: history)
    assert finding.damage is Damage.STALE


def test_neighbours_with_the_same_damage_are_one_finding_and_others_are_not() -> None:
    seen = disk()
    seen[sectors(2, 2)] = 0
    seen[sectors(5, 2)] = 0
    assert [f.offset for f in diagnose(seen, 0, disk())] == [1024, 2560]


def test_a_finding_reads_as_text_with_place_diagnosis_and_bytes() -> None:
    seen = disk()
    seen[sectors(2)] = 0
    text = str(only(seen, disk()))
    assert "offset 1024 (0x400), sector 2, 512 bytes: zeroed" in text
    assert "expected 71626473 74616d70 09000000 07000000, seen 00000000" in text


def test_many_findings_are_counted_beyond_the_limit() -> None:
    seen = disk()
    for first in range(0, 64, 2):
        seen[sectors(first)] = 0
    text = render(diagnose(seen, 0, disk()), limit=3)
    assert "... and 29 more; 16384 wrong bytes in all" in text


def test_an_unaligned_write_that_was_rounded_down_is_a_shifted_part_of_the_sector() -> None:
    before, new = disk(4, 40), stamp(100, 300, ME, 7, 70)
    expected, seen = before.copy(), before.copy()
    expected[100:400] = new
    seen[:300] = new
    finding = only(seen, expected)
    assert (finding.damage, finding.offset) == (Damage.SHIFTED, 0)
    assert finding.text == "a part of the sector is shifted by -100 bytes"


def test_unknown_data_in_a_part_of_a_sector_names_the_bytes() -> None:
    seen = disk()
    seen[700:800] = np.random.default_rng(1).integers(0, 256, 100, dtype=np.uint8)
    text = only(seen, disk()).text
    assert text.startswith("bytes 188 to 287 of the sector are uninitialised or unknown data")


def test_only_the_first_of_many_damaged_sectors_are_examined_in_detail() -> None:
    expected = stamp(0, 4 << 20, ME, 7, 70)
    seen = np.random.default_rng(1).integers(0, 256, 4 << 20, dtype=np.uint8)
    findings = diagnose(seen, 0, expected)
    assert sum(finding.length for finding in findings) == 4 << 20
    assert findings[-1].text == "wrong; not examined closely, after 512 others"


def test_zeroes_around_a_later_write_are_zeroed_in_part() -> None:
    seen, expected = disk(), disk()
    expected[600:700] = seen[600:700] = np.random.default_rng(1).integers(1, 256, 100)
    seen[520:600] = 0
    seen[700:780] = 0
    finding = only(seen, expected)
    assert finding.damage is Damage.ZEROED
    places = sum(int(byte) != 0 for byte in [*expected[520:600], *expected[700:780]])
    assert f"zeroed in part: {places} bytes from byte 8 to 267 of the sector" in finding.text


@pytest.mark.parametrize("at", [64, 192, 400])
def test_a_sector_torn_between_two_writes_that_are_not_expected_is_torn(at: int) -> None:
    seen = disk()
    seen[SECTOR : SECTOR + at] = disk(4, 40)[SECTOR : SECTOR + at]
    seen[SECTOR + at : 2 * SECTOR] = disk(5, 50)[SECTOR + at : 2 * SECTOR]
    history = [Header(7, 9, 1, 5, 0, 50), Header(7, 9, 1, 4, 0, 40), Header(7, 9, 1, 3, 0, 30)]
    expected = np.random.default_rng(1).integers(0, 256, SIZE, dtype=np.uint8)
    part = sectors(1)
    (finding,) = diagnose(
        seen[part], SECTOR, expected[part], identity=ME, candidates=lambda _: history
    )
    assert finding.damage is Damage.TORN
    cut = f"torn at byte {at}: first generation 4 by write #40, then generation 5 by write #50"
    assert cut in finding.text
    assert finding.part == (at, SECTOR)


@pytest.mark.parametrize("end", [400, SECTOR])
def test_a_sector_with_an_unknown_part_is_unknown(end: int) -> None:
    seen = np.random.default_rng(2).integers(0, 256, SECTOR, dtype=np.uint8)
    seen[:200] = disk(4, 40)[:200]
    seen[end:] = disk(5, 50)[end:SECTOR]
    expected = np.random.default_rng(1).integers(0, 256, SECTOR, dtype=np.uint8)
    history = [Header(7, 9, 0, 4, 0, 40), Header(7, 9, 0, 5, 0, 50)]
    (finding,) = diagnose(seen, 0, expected, identity=ME, candidates=lambda _: history)
    assert finding.damage is Damage.UNKNOWN


def test_one_bit_in_zeroes_that_nobody_wrote_may_be_data_of_another_place() -> None:
    shadow = Shadow(8 * SECTOR, ME)
    seen = bytearray(SECTOR)
    seen[5] = 0x02
    (finding,) = shadow.check(SECTOR, bytes(seen))
    assert (finding.damage, finding.confidence) == (Damage.UNKNOWN, Confidence.UNKNOWN)
    assert finding.text.startswith("not zero: byte 5 of the sector is 0x02, a flipped bit or data")
    shadow.zero(SECTOR, SECTOR)
    (finding,) = shadow.check(SECTOR, bytes(seen))
    assert (finding.damage, finding.confidence) == (Damage.BIT_FLIP, Confidence.LIKELY)

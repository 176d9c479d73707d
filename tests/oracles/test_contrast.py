"""The writes that are right beside damaged ones."""

from __future__ import annotations

from oracles.contrast import MOST, damaged_writes, with_right_writes
from oracles.damage import Content, Damage, Operation, What
from oracles.finding import SECTOR, Finding
from oracles.shadow import Shadow
from oracles.stamps import Identity

KIB = 1 << 10


def disk(size: int = 64 * KIB) -> tuple[Shadow, bytearray]:
    """Return a prefilled shadow and the data of its volume."""
    shadow = Shadow(size, Identity(1, 2))
    return shadow, bytearray(shadow.prefill().tobytes())


def write(shadow: Shadow, data: bytearray, offset: int, length: int, *, lost: bool = False) -> None:
    written = shadow.stamped(offset, length)
    shadow.write(offset, written)
    if not lost:
        data[offset : offset + length] = written


def right(finding: Finding) -> list[tuple[int, int]]:
    return [(one.offset, one.length) for one in finding.right_writes]


def test_a_write_that_the_failing_check_found_whole_is_right() -> None:
    shadow, data = disk()
    write(shadow, data, 0, 4096)
    write(shadow, data, 8192, 4096, lost=True)
    write(shadow, data, 20480, 100)
    first, *rest = shadow.check(0, data)
    assert right(first) == [(0, 4096), (20480, 100)]
    assert not any(one.right_writes for one in rest)
    assert [(one.offset, one.length) for one in damaged_writes([first])] == [(8192, 4096)]


def test_a_write_that_an_earlier_check_found_right_counts_though_it_was_overwritten() -> None:
    shadow, data = disk()
    write(shadow, data, 0, 4096)
    assert not shadow.check(0, data[:4096])
    write(shadow, data, 0, 4096, lost=True)
    (finding,) = shadow.check(0, data)
    assert [one.number for one in finding.right_writes] == [1]


def test_what_no_check_saw_is_not_right() -> None:
    shadow, data = disk()
    write(shadow, data, 0, 4096)
    write(shadow, data, 8192, 4096, lost=True)
    (finding,) = shadow.check(8192, data[8192:12288])
    assert right(finding) == []


def test_a_write_that_is_wrong_in_part_is_not_right() -> None:
    shadow, data = disk()
    before = bytes(data)
    write(shadow, data, 0, 8192)
    data[4096:8192] = before[4096:8192]
    (finding,) = shadow.check(0, data)
    assert right(finding) == []


def test_a_power_cut_ends_what_was_right_before_it() -> None:
    shadow, data = disk()
    write(shadow, data, 0, 4096)
    assert not shadow.check(0, data)
    write(shadow, data, 8192, 4096, lost=True)
    shadow.flush()
    write(shadow, data, 16384, 4096)
    shadow.power_cut()
    (finding,) = shadow.check(8192, data[8192:])
    assert right(finding) == []  # the write of 16384 need not have survived


def test_writes_that_change_nothing_prove_nothing() -> None:
    shadow = Shadow(64 * KIB, Identity(1, 2))
    data = bytearray(64 * KIB)
    shadow.zero(0, 4096)  # zeroes over zeroes
    write(shadow, data, 32768, 4096)
    shadow.zero(33280, 512)
    data[33280:33792] = bytes(512)
    write(shadow, data, 40960, 15)  # the beginning of each stamp is the same
    write(shadow, data, 8192, 4096, lost=True)
    first, *_ = shadow.check(0, data)
    assert right(first) == [(32768, 4096), (33280, 512)]


def test_zeroes_beside_a_later_discard_name_it() -> None:
    shadow, data = disk()
    write(shadow, data, 8192, 4096)
    shadow.discard(4096, 4096)
    data[4096:10240] = bytes(6144)  # it discards 2 KiB too much
    (finding,) = shadow.check(0, data)
    which = "discard #2 of 4096 bytes at offset 4096"
    assert finding.evidence == (f"it lies directly behind {which}, which came after write #1",)
    shadow.discard(16384, 4096)
    data[8192:16384] = bytes(8192)
    named = [one.evidence for one in shadow.check(0, data)]
    assert [line.split(" of ")[0] for lines in named for line in lines] == [
        "it lies directly behind discard #2",
        "it lies directly before discard #3",
    ]


def test_an_earlier_discard_and_one_that_is_not_adjacent_are_not_named() -> None:
    shadow, data = disk()
    shadow.discard(4096, 4096)
    write(shadow, data, 8192, 4096)
    shadow.discard(16384, 4096)
    data[8192:12288] = bytes(4096)
    (finding,) = shadow.check(0, data)
    assert finding.evidence == ()


def test_the_nearest_right_writes_are_kept_among_many() -> None:
    entries = [Operation(number, number * SECTOR, SECTOR, "write", number)
               for number in range(1, 401)]  # fmt: skip
    place = 200 * SECTOR
    finding = Finding(Damage.STALE, place, SECTOR, expected=Content(What.STAMP, 200, 200))
    (found,) = with_right_writes([finding], entries, [], (len(entries), 0, 401 * SECTOR))
    numbers = [one.number for one in found.right_writes]
    assert len(numbers) == len(set(numbers)) == MOST
    assert {199, 201, 190, 210} <= set(numbers)
    assert 200 not in numbers
    assert min(numbers) < 20
    assert max(numbers) > 380


def test_the_damaged_write_is_the_one_that_went_elsewhere() -> None:
    moved = Finding(
        Damage.MISDIRECTED,
        0,
        SECTOR,
        seen=Content(What.STAMP, 1, 7),
        moved=-4096,
        last_writes=(Operation(3, 0, SECTOR, "write", 1),),
    )
    gone = Finding(
        Damage.STALE, 4096, SECTOR, last_writes=(Operation(7, 4096, SECTOR, "write", 2),)
    )
    assert [one.number for one in damaged_writes([moved, gone])] == [7]
    assert [one.number for one in damaged_writes([gone])] == [7]
    unsure = Operation(8, 0, SECTOR, "write (outcome unknown)", 2)
    assert damaged_writes([Finding(Damage.STALE, 0, SECTOR, last_writes=(unsure,))]) == []


def test_zeroes_where_a_discard_begins_that_lost_a_bit_of_its_offset_name_it() -> None:
    shadow = Shadow((4 << 30) + (1 << 20))
    data = bytearray(shadow.stamped(0, 12288))
    shadow.write(0, bytes(data))
    shadow.discard((4 << 30) + 4096, 16384, reads_zero=True)
    data[4096:12288] = bytes(8192)  # the offset was cut off to 32 bits
    (finding,) = shadow.check(0, data)
    assert finding.evidence == (
        (
            "a later request may have lost a bit of its offset: discard #2 of 16384 bytes at"
            " offset 4294971392, exactly 4 GiB higher"
        ),
    )
    data[4096:8192] = shadow.expected(4096, 4096)
    (finding,) = shadow.check(0, data)
    assert finding.evidence == ()

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles.stamps import (
    SECTOR,
    Header,
    Identity,
    header_of,
    operation_of,
    owner_of,
    sector_words,
    sound,
    stamp,
    stamp_each,
    verify,
)

ME = Identity(run=7, volume=9, writer=2)


def test_a_stamp_has_its_owner_position_and_write() -> None:
    words = sector_words(stamp(5 * SECTOR, SECTOR, ME, generation=3, operation=57))
    assert header_of(words[0]) == Header(7, 9, lba=5, generation=3, writer=2, operation=57)


@given(offset=st.integers(0, 1 << 40), length=st.integers(0, 3000))
def test_an_unaligned_stamp_is_the_exact_slice_of_the_sectors_around_it(
    offset: int, length: int
) -> None:
    first = offset // SECTOR * SECTOR
    around = stamp(first, 4096, ME, 1, 2).tobytes()
    assert stamp(offset, length, ME, 1, 2).tobytes() == around[offset - first :][:length]


def test_the_last_sector_of_the_largest_volume_can_be_stamped() -> None:
    data = stamp((1 << 63) - 1 - 511, 511, ME)
    assert len(data) == 511


def test_negative_offsets_are_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        stamp(-1, 5, ME)


@given(byte=st.integers(0, SECTOR - 1), bit=st.integers(0, 7), sector=st.integers(0, 1 << 54))
def test_one_flipped_bit_anywhere_is_seen(byte: int, bit: int, sector: int) -> None:
    data = stamp(sector * SECTOR, SECTOR, ME, 4, 4)
    data[byte] ^= 1 << bit
    assert not sound(sector_words(data))[0]


def test_a_sector_rotated_by_whole_words_is_not_sound() -> None:
    data = stamp(0, SECTOR, ME, 1, 1)
    moved = np.concatenate([data[:40], np.roll(data[40:], 8)])
    assert not sound(sector_words(moved))[0]


@pytest.mark.parametrize(
    ("other", "right"),
    [(ME, True), (Identity(7, 10), False), (Identity(8, 9), False), (Identity(7, 9, 5), True)],
)
def test_verify_accepts_any_writer_of_its_own_run_and_volume_only(
    other: Identity, right: bool
) -> None:
    assert verify(stamp(1 << 20, 8192, other, 1, 1), 1 << 20, ME) is right


def test_verify_refuses_sound_sectors_at_the_wrong_place() -> None:
    assert not verify(stamp(0, 4096, ME), SECTOR, ME)


def test_the_operation_is_read_from_stamps_only() -> None:
    assert operation_of(stamp(0, 1024, ME, 1, 12), 0) == 12
    assert operation_of(stamp(1, 1024, ME, 1, 12), 1) is None
    assert operation_of(stamp(4096, 1024, ME, 1, 12), 0) is None  # a copy, elsewhere
    assert operation_of(bytes(512), 0) is None
    assert operation_of(b"qbdstamp", 0) is None
    assert operation_of(b"qbdstamp" * 64, 0) is None


def test_names_make_stable_identities() -> None:
    assert Identity.of("run", "vol", 3) == Identity.of("run", "vol", 3)
    assert Identity.of("run", "vol") != Identity.of("run", "vol2")


def test_stamping_many_writes_at_once_is_stamping_each() -> None:
    me = Identity(7, 8, 9)
    writes = [(0, 512, 1, 1), (513, 1, 2, 5), (1 << 45, 5000, 3, 1 << 63), (100, 412, 4, 4)]
    each = [stamp(offset, n, me, generation, number) for offset, n, generation, number in writes]
    at_once = stamp_each(writes, me)
    assert [data.tobytes() for data in at_once] == [data.tobytes() for data in each]


def test_a_volume_that_is_made_again_is_another_owner() -> None:
    first, second, third = (Identity.of_new("a run of this test", "extra") for _ in range(3))
    assert first == Identity.of("a run of this test", "extra")
    assert len({first.volume, second.volume, third.volume}) == 3
    owners = [owner_of(one.run, one.volume) for one in (first, second, third)]
    assert owners == ["an earlier volume extra", "an earlier volume extra", "volume extra"]
    assert not owner_of(first.run + 1, first.volume)
